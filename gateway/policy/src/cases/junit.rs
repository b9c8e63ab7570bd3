//! The report in the form that build servers read: one suite, one test case for each case.

use std::fmt::Write as _;

use super::report::{CaseResult, Report};

/// Writes the document.
pub(super) fn document(report: &Report) -> String {
    let name = escaped(&report.name);
    let (tests, failures) = (report.results.len(), report.failed_count());
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let counts = format!("tests=\"{tests}\" failures=\"{failures}\"");
    let written =
        writeln!(text, "<testsuites {counts}>\n  <testsuite name=\"{name}\" {counts} errors=\"0\">")
            .and_then(|()| report.results.iter().try_for_each(|result| case(&mut text, result)));
    written.expect("a string takes every write");
    text.push_str("  </testsuite>\n</testsuites>\n");
    text
}

fn case(text: &mut String, result: &CaseResult) -> std::fmt::Result {
    let CaseResult { name, file, line, passed, expected, got, .. } = result;
    let (name, file) = (escaped(name), escaped(file));
    write!(text, "    <testcase classname=\"{file}\" name=\"{name}\" file=\"{file}\" line=\"{line}\"")?;
    if *passed {
        return writeln!(text, "/>");
    }
    let (expected, got) = (escaped(expected), escaped(got));
    writeln!(
        text,
        ">\n      <failure message=\"expected {expected}\">expected: {expected}\ngot: {got}</failure>\n    </testcase>"
    )
}

/// Replaces what means something in XML. Control characters are not allowed in names at all.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&apos;"),
            control if control.is_control() => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}
