//! Rules about a Rust file's own shape: its header, its length, its words, its name.

use crate::source::{Source, lines_with};
use crate::{Finding, Rule};

/// Most lines of code in a file, tests apart.
pub const FILE_LINES_MAX: usize = 500;
/// Most lines of code in a `mod.rs`, which should only introduce its folder.
pub const MOD_LINES_MAX: usize = 250;

/// Names that say that nobody knew what a module is about.
const EMPTY_NAMES: [&str; 8] = ["util", "utils", "helper", "helpers", "misc", "common", "shared", "stuff"];
/// Macros that stand for code that is not there, or that should not stay.
const UNFINISHED: [&str; 3] = ["todo!", "dbg!", "unimplemented!"];
// In two parts, so that this line is not one of the places.
const FIX_LATER: &str = concat!("FIX", "ME");

/// Checks everything that can be seen in one file alone.
pub fn check(source: &Source) -> Vec<Finding> {
    [header(source), length(source), unfinished(source), ignored(source), module_name(source)].concat()
}

fn header(source: &Source) -> Vec<Finding> {
    if source.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![Finding::in_file(
        &source.path,
        Rule::Header,
        "the file must open with `//!`: what it is, why, and what is deliberately absent",
    )]
}

fn length(source: &Source) -> Vec<Finding> {
    let limit = if source.path.ends_with("/mod.rs") { MOD_LINES_MAX } else { FILE_LINES_MAX };
    let lines = source.code_lines();
    if lines <= limit {
        return Vec::new();
    }
    vec![Finding::in_file(
        &source.path,
        Rule::Length,
        format!("{lines} lines of code, {limit} are the limit: the file answers more than one question"),
    )]
}

fn unfinished(source: &Source) -> Vec<Finding> {
    let at = |word: &'static str, text: &str| {
        let message = format!("`{word}` does not stay: finish it, or open an issue");
        lines_with(text, word)
            .into_iter()
            .map(|line| Finding::at_line(&source.path, line, Rule::Unfinished, message.clone()))
            .collect::<Vec<_>>()
    };
    UNFINISHED.iter().flat_map(|word| at(word, &source.code)).chain(at(FIX_LATER, &source.text)).collect()
}

fn ignored(source: &Source) -> Vec<Finding> {
    let is_ignored = |line: &str| line.replace(' ', "").contains("#[ignore");
    let lines = source.code.lines().enumerate().filter(|(_, line)| is_ignored(line));
    lines
        .map(|(index, _)| {
            let message = "a test is never switched off: assert what happens today and say that it is wrong";
            Finding::at_line(&source.path, index + 1, Rule::Ignored, message)
        })
        .collect()
}

fn module_name(source: &Source) -> Vec<Finding> {
    let parts = source.path.trim_end_matches(".rs").split('/');
    let mut found: Vec<_> = parts
        .filter(|part| EMPTY_NAMES.contains(part))
        .map(|part| {
            Finding::in_file(
                &source.path,
                Rule::ModuleName,
                format!("`{part}` says nothing: name what the content is about"),
            )
        })
        .collect();
    for name in EMPTY_NAMES {
        for line in lines_with(&source.code, &format!("mod {name} {{")) {
            found.push(Finding::at_line(
                &source.path,
                line,
                Rule::ModuleName,
                format!("`{name}` says nothing: name what the content is about"),
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<Rule> {
        check(&Source::new(path, text)).into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn a_file_opens_with_its_purpose() {
        assert_eq!(rules("a/src/x.rs", "//! Says why.\n"), []);
        assert_eq!(rules("a/src/x.rs", "use std::fmt;\n"), [Rule::Header]);
    }

    #[test]
    fn a_file_is_short_but_its_tests_may_be_long() {
        let lines = |count: usize| "a();\n".repeat(count);
        assert_eq!(rules("a/src/x.rs", &format!("//! X.\n{}", lines(500))), []);
        assert_eq!(rules("a/src/x.rs", &format!("//! X.\n{}", lines(501))), [Rule::Length]);
        assert_eq!(
            rules(
                "a/src/x.rs",
                &format!("//! X.\n{}#[cfg(test)]\nmod tests {{\n{}}}\n", lines(500), lines(90))
            ),
            []
        );
        assert_eq!(rules("a/src/x/tests.rs", &format!("//! X.\n{}", lines(900))), []);
        assert_eq!(rules("a/src/x/mod.rs", &format!("//! X.\n{}", lines(251))), [Rule::Length]);
    }

    #[test]
    fn unfinished_work_is_found_in_code_and_in_comments() {
        assert_eq!(rules("a/src/x.rs", "//! X.\n// a todo! in a comment\nlet a = \"dbg!\";\n"), []);
        assert_eq!(rules("a/src/x.rs", "//! X.\nfn f() { todo!() }\n"), [Rule::Unfinished]);
        assert_eq!(rules("a/src/x.rs", &format!("//! X.\n// {FIX_LATER} later\n")), [Rule::Unfinished]);
    }

    #[test]
    fn a_test_is_not_switched_off() {
        assert_eq!(rules("a/src/x.rs", "//! X.\n// #[ignore]\n"), []);
        assert_eq!(rules("a/src/x.rs", "//! X.\n#[ignore = \"slow\"]\nfn f() {}\n"), [Rule::Ignored]);
    }

    #[test]
    fn a_module_has_a_real_name() {
        assert_eq!(rules("a/src/clock.rs", "//! X.\nmod tests { }\n"), []);
        assert_eq!(rules("a/src/utils.rs", "//! X.\n"), [Rule::ModuleName]);
        assert_eq!(rules("a/src/common/mod.rs", "//! X.\n"), [Rule::ModuleName]);
        assert_eq!(rules("a/src/x.rs", "//! X.\nmod helpers {\n}\n"), [Rule::ModuleName]);
    }
}
