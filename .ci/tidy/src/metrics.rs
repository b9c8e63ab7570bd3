//! The metrics that the server exports, the table that explains them, and the dashboards that show them agree.

use std::collections::BTreeSet;

use crate::{Finding, Rule};

/// What every metric of ours begins with.
const PREFIX: &str = "portcullis_";

/// A file that names metrics: its path and its text.
#[derive(Debug, Clone, Copy)]
pub struct Naming<'a> {
    /// Where it lies.
    pub path: &'a str,
    /// What it says.
    pub text: &'a str,
}

/// Checks that the server's code and the table name the same metrics.
pub fn table(code: Naming<'_>, table: Naming<'_>) -> Vec<Finding> {
    let (exported, explained) = (names(code.text, '"'), names(table.text, '`'));
    let unexplained = exported
        .difference(&explained)
        .map(|name| (code.path, format!("`{name}` has no row in {}", table.path)));
    let gone = explained
        .difference(&exported)
        .map(|name| (table.path, format!("`{name}` is not exported by {}", code.path)));
    unexplained.chain(gone).map(|(path, message)| Finding::in_file(path, Rule::Metrics, message)).collect()
}

/// Checks that a dashboard or a query names only metrics of the table.
pub fn dashboard(dashboard: Naming<'_>, table: &str) -> Vec<Finding> {
    let explained = names(table, '`');
    let known = |name: &str| {
        let of_histogram =
            ["_bucket", "_sum", "_count"].iter().filter_map(|ending| name.strip_suffix(ending));
        std::iter::once(name).chain(of_histogram).any(|name| explained.contains(name))
    };
    let unknown = dashboard
        .text
        .match_indices(PREFIX)
        .map(|(at, _)| word(&dashboard.text[at..]))
        .filter(|name| !known(name));
    unknown
        .map(|name| Finding::in_file(dashboard.path, Rule::Metrics, format!("`{name}` is in no table")))
        .collect()
}

/// Returns the metrics that stand in `text` directly after the mark.
fn names(text: &str, mark: char) -> BTreeSet<&str> {
    text.match_indices(PREFIX)
        .filter(|(at, _)| text[..*at].ends_with(mark))
        .map(|(at, _)| word(&text[at..]))
        .collect()
}

fn word(text: &str) -> &str {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_and_the_table_name_the_same_metrics() {
        let check = |code, text| {
            table(Naming { path: "metrics.rs", text: code }, Naming { path: "metrics.md", text }).len()
        };
        let code = r#"Opts::new("portcullis_a_total", "…")"#;
        assert_eq!(check(code, "| `portcullis_a_total` | counter |"), 0);
        assert_eq!(check(code, "| nothing |"), 1);
        assert_eq!(check(code, "`portcullis_a_total` `portcullis_gone`"), 1);
    }

    #[test]
    fn a_dashboard_names_known_metrics_only() {
        let check = |text| dashboard(Naming { path: "d.json", text }, "`portcullis_a_seconds`").len();
        assert_eq!(check("rate(portcullis_a_seconds_bucket[5m])"), 0);
        assert_eq!(check("rate(portcullis_b_seconds_bucket[5m])"), 1);
    }
}
