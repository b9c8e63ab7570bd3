//! The way around a rule: a line comment `tidy: allow(rule) because …` on the line that is meant or on the one
//! before; for a rule about a whole file, anywhere in it.
//!
//! Allowances are counted over the repository, because an exception that everybody makes is the real rule.

use crate::source::Source;
use crate::{Finding, Rule};

/// Most allowances in the repository.
pub const ALLOWANCES_MAX: usize = 5;

const MARK: &str = "// tidy: allow(";

/// One allowance in one file.
#[derive(Debug, PartialEq, Eq)]
struct Allowance<'a> {
    path: &'a str,
    line: usize,
    rule: &'a str,
    reason: &'a str,
}

/// Takes out the findings that an allowance covers, and adds those about the allowances themselves.
pub fn apply(sources: &[Source], findings: Vec<Finding>) -> Vec<Finding> {
    let allowances: Vec<_> = sources.iter().flat_map(read).collect();
    let covers = |allowance: &Allowance<'_>, finding: &Finding| {
        let is_there = finding.line.is_none_or(|line| line == allowance.line || line == allowance.line + 1);
        allowance.path == finding.path && allowance.rule == finding.rule.name() && is_there
    };
    let mut found = Vec::new();
    for (index, allowance) in allowances.iter().enumerate() {
        let message = if allowance.reason.is_empty() {
            "an allowance ends in `because` and a reason".to_owned()
        } else if !findings.iter().any(|finding| covers(allowance, finding)) {
            format!("nothing here breaks `{}`: take the allowance out", allowance.rule)
        } else if index >= ALLOWANCES_MAX {
            format!("{ALLOWANCES_MAX} allowances are the limit: change the code, or the rule")
        } else {
            continue;
        };
        found.push(Finding::at_line(allowance.path, allowance.line, Rule::Allowance, message));
    }
    found.extend(
        findings.into_iter().filter(|finding| !allowances.iter().any(|allowance| covers(allowance, finding))),
    );
    found
}

fn read(source: &Source) -> impl Iterator<Item = Allowance<'_>> {
    let lines = source.text.lines().zip(source.without_comments.lines()).enumerate();
    lines.filter_map(|(index, (text, without_comments))| {
        let start = text.find(MARK)?;
        // A mark that is still there without the comments stands in a literal: it is only spoken of.
        if without_comments.contains(MARK) {
            return None;
        }
        let (rule, rest) = text[start + MARK.len()..].split_once(')')?;
        let reason = rest.trim().strip_prefix("because").unwrap_or("").trim();
        Some(Allowance { path: &source.path, line: index + 1, rule, reason })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, findings: &[(Option<usize>, Rule)]) -> Vec<Rule> {
        let sources = [Source::new("a/src/x.rs", text)];
        let findings = findings
            .iter()
            .map(|(line, rule)| Finding { line: *line, ..Finding::in_file("a/src/x.rs", *rule, "") });
        apply(&sources, findings.collect()).into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn an_allowance_covers_its_line_the_next_and_the_file() {
        let text = "// tidy: allow(socket) because a test server is meant\nx();\ny();\n";
        assert_eq!(check(text, &[(Some(2), Rule::Socket)]), []);
        assert_eq!(check(text, &[(None, Rule::Socket)]), []);
        assert_eq!(check(text, &[(Some(1), Rule::Socket), (Some(3), Rule::Socket)]), [Rule::Socket]);
        assert_eq!(check(text, &[(Some(1), Rule::Socket), (Some(2), Rule::Unsafe)]), [Rule::Unsafe]);
    }

    #[test]
    fn an_allowance_has_a_reason_and_a_use() {
        assert_eq!(check("// tidy: allow(socket)\n", &[(Some(1), Rule::Socket)]), [Rule::Allowance]);
        assert_eq!(check("// tidy: allow(socket) because so\n", &[]), [Rule::Allowance]);
    }

    #[test]
    fn allowances_are_counted() {
        let text = "x(); // tidy: allow(socket) because so\n".repeat(ALLOWANCES_MAX + 1);
        let findings: Vec<_> = (1..=ALLOWANCES_MAX + 1).map(|line| (Some(line), Rule::Socket)).collect();
        assert_eq!(check(&text, &findings), [Rule::Allowance]);
    }
}
