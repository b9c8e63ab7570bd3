//! Rules about the documents: decisions are numbered, links lead somewhere, tests that are named exist.

use std::collections::BTreeSet;

use crate::source::Source;
use crate::{Finding, Rule};

/// The folder of the decisions.
const DECISIONS: &str = "docs/decisions/";

/// Checks that decisions are numbered from 0001 without gaps, and that each one's title carries its number.
///
/// Takes every document with its path; the others are passed over.
pub fn decisions(documents: &[(String, String)]) -> Vec<Finding> {
    let mut files: Vec<_> = documents.iter().filter(|(path, _)| path.starts_with(DECISIONS)).collect();
    files.sort();
    let mut found = Vec::new();
    for (index, (path, text)) in files.iter().enumerate() {
        let number = format!("{:04}", index + 1);
        if !path[DECISIONS.len()..].starts_with(&format!("{number}-")) {
            found.push(Finding::in_file(
                path,
                Rule::Decisions,
                format!("expected a file named {number}-….md: numbers have no gaps"),
            ));
        }
        if !text.starts_with(&format!("# {number}: ")) {
            found.push(Finding::at_line(
                path,
                1,
                Rule::Decisions,
                format!("the title must begin with `# {number}: `"),
            ));
        }
    }
    found
}

/// Checks that each relative link of one document leads to a file or a folder of the repository.
pub fn links(path: &str, text: &str, files: &BTreeSet<String>) -> Vec<Finding> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let exists = |target: &str| {
        let folder = format!("{target}/");
        target.is_empty()
            || files.contains(target)
            || files.range(folder.clone()..).next().is_some_and(|file| file.starts_with(&folder))
    };
    let mut found = Vec::new();
    let mut fenced = false;
    for (index, line) in text.lines().enumerate() {
        fenced ^= line.trim_start().starts_with("```");
        for target in targets(line).filter(|_| !fenced) {
            if !join(folder, target).is_some_and(|target| exists(&target)) {
                found.push(Finding::at_line(
                    path,
                    index + 1,
                    Rule::Links,
                    format!("`{target}` leads to no file"),
                ));
            }
        }
    }
    found
}

/// Returns the names of all functions of the sources.
pub fn functions(sources: &[Source]) -> BTreeSet<&str> {
    let rest_of_names = sources.iter().flat_map(|source| source.text.split("fn ").skip(1));
    rest_of_names.filter_map(|rest| rest.split(|letter: char| !is_of_a_name(letter)).next()).collect()
}

/// Checks that each name of a test in one document is that of a function.
///
/// Tests are sentences, so any name of at least four words is taken for one.
pub fn tests(path: &str, text: &str, functions: &BTreeSet<&str>) -> Vec<Finding> {
    let lines = text.lines().enumerate();
    let names =
        lines.flat_map(|(index, line)| line.split('`').skip(1).step_by(2).map(move |name| (index, name)));
    let is_test = |name: &str| name.matches('_').count() >= 3 && name.chars().all(is_of_a_name);
    names
        .filter(|(_, name)| is_test(name) && !functions.contains(name))
        .map(|(index, name)| {
            Finding::at_line(
                path,
                index + 1,
                Rule::Tests,
                format!("`{name}` is no test: has it been renamed?"),
            )
        })
        .collect()
}

fn is_of_a_name(letter: char) -> bool {
    letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_'
}

/// Returns the relative targets of a line's links, without their anchors.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next()).filter_map(|target| {
        let file = target.split('#').next().unwrap_or("");
        let is_elsewhere = target.contains("://") || target.starts_with("mailto:") || target.starts_with('<');
        (!file.is_empty() && !is_elsewhere).then_some(file)
    })
}

/// Returns the path that a link from a file in `folder` leads to; `None` if that is outside the repository.
fn join(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = if target.starts_with('/') {
        Vec::new()
    } else {
        folder.split('/').filter(|part| !part.is_empty()).collect()
    };
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(files: &[(&str, &str)]) -> usize {
        let files: Vec<_> =
            files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        decisions(&files).len()
    }

    #[test]
    fn decisions_are_numbered_without_gaps() {
        let first = ("docs/decisions/0001-one.md", "# 0001: One\n");
        assert_eq!(
            numbered(&[first, ("docs/decisions/0002-two.md", "# 0002: Two\n"), ("README.md", "# R\n")]),
            0
        );
        assert_eq!(numbered(&[first, ("docs/decisions/0002-two.md", "# Two\n")]), 1);
        assert_eq!(numbered(&[first, ("docs/decisions/0003-two.md", "# 0002: Two\n")]), 1);
    }

    #[test]
    fn relative_links_lead_somewhere() {
        let files: BTreeSet<String> = ["README.md", "docs/a.md", "docs/deep/b.md"].map(str::to_owned).into();
        let count = |text: &str| links("docs/a.md", text, &files).len();
        assert_eq!(
            count("[r](../README.md) [b](deep/b.md#part) [d](deep/) [w](https://x.example/a.md) [h](#here)"),
            0
        );
        assert_eq!(count("```\n[x](none.md)\n```\n"), 0);
        assert_eq!(count("[x](none.md)"), 1);
        assert_eq!(count("[x](../../outside.md)"), 1);
    }

    #[test]
    fn a_test_that_a_document_names_exists() {
        let sources = [Source::new("a/tests/x.rs", "#[test]\nfn a_name_is_a_sentence() {}\nfn a_b_c() {}\n")];
        let functions = functions(&sources);
        let count = |text: &str| tests("docs/a.md", text, &functions).len();
        assert_eq!(count("`a_name_is_a_sentence` and `a_b_x`, `A_B_C_D`, a_name_is_a_word"), 0);
        assert_eq!(count("`a_name_is_a_word`, `a_name_is_a_sentence`\n`no_such_test_either`"), 2);
    }
}
