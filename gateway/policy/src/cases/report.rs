//! What running the cases came to, as text, as JSON and (next door) as `JUnit` XML.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use super::coverage::{Coverage, RuleKind, meaning};
use super::{Case, junit};
use crate::digest::Digest;
use crate::explain::Outcome;

/// The results of all cases.
#[derive(Debug, Clone)]
pub struct Report {
    /// What the files of the cases are called.
    pub(crate) name: String,
    pub(crate) digest: Digest,
    pub(crate) results: Vec<CaseResult>,
    pub(crate) coverage: Coverage,
}

/// What became of one case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseResult {
    /// The case's name.
    pub name: String,
    /// The file that it stands in, by the name of its [`crate::Source`].
    pub file: Arc<str>,
    /// Where it stands there.
    pub line: usize,
    /// The workflow that it is about: the one that it comes to, or else the one that it names.
    pub workflow: Option<String>,
    /// Whether what came is what was expected.
    pub passed: bool,
    /// What was expected.
    pub expected: String,
    /// What came.
    pub got: String,
}

impl CaseResult {
    pub(crate) fn new(case: &Case, outcome: &Outcome) -> Self {
        Self {
            name: case.name.clone(),
            file: Arc::clone(&case.file),
            line: case.line,
            workflow: outcome.workflow().map(ToString::to_string).or_else(|| case.ask.workflow.clone()),
            passed: case.expected.accepts(outcome),
            expected: case.expected.wanted(),
            got: case.expected.got(outcome),
        }
    }
}

impl Report {
    /// Returns the results in the order of the files.
    pub fn results(&self) -> &[CaseResult] {
        &self.results
    }

    /// Returns which rules the cases met.
    pub fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    /// Returns how many cases failed.
    pub fn failed_count(&self) -> usize {
        self.results.iter().filter(|result| !result.passed).count()
    }

    /// Returns the workflows that cases are about.
    pub fn workflows(&self) -> BTreeSet<String> {
        self.results.iter().filter_map(|result| result.workflow.clone()).collect()
    }

    /// Returns the report as JSON.
    pub fn to_json(&self) -> Value {
        let results = self.results.iter().map(|result| {
            let CaseResult { name, file, line, workflow: _, passed, expected, got } = result;
            json!({
                "name": name, "file": &**file, "line": line,
                "passed": passed, "expected": expected, "got": got,
            })
        });
        let count = |kind| {
            let (met, all) = self.coverage.count(kind);
            json!({ "met": met, "all": all })
        };
        let missing = self.coverage.missing().map(|rule| {
            json!({ "workflow": rule.workflow.as_str(), "kind": rule.kind.as_str(), "rule": rule.name })
        });
        json!({
            "file": self.name,
            "policy": self.digest.to_string(),
            "passed": self.results.len() - self.failed_count(),
            "failed": self.failed_count(),
            "cases": results.collect::<Value>(),
            "coverage": {
                "entries": count(RuleKind::Entry),
                "deny": count(RuleKind::Deny),
                "missing": missing.collect::<Value>(),
            },
        })
    }

    /// Returns the report as `JUnit` XML.
    pub fn to_junit(&self) -> String {
        junit::document(self)
    }
}

impl RuleKind {
    /// Returns the word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Entry => "entry",
            Self::Deny => "deny",
        }
    }
}

/// Several lines, the last without its newline: a block for each case that failed, the sum, and what was not met.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for result in self.results.iter().filter(|result| !result.passed) {
            let CaseResult { name, file, line, expected, got, .. } = result;
            writeln!(f, "FAIL {file}:{line}: {name}\n  expected: {expected}\n  got:      {got}")?;
        }
        let (failed, all) = (self.failed_count(), self.results.len());
        writeln!(f, "{}: {} of {all} cases passed, {failed} failed", self.name, all - failed)?;
        let share = |kind| {
            let (met, all) = self.coverage.count(kind);
            let percent = (met * 100).checked_div(all).unwrap_or(100);
            format!("{met} of {all} ({percent} %)")
        };
        let (entries, deny) = (share(RuleKind::Entry), share(RuleKind::Deny));
        write!(f, "coverage: route entries {entries}, reasons to refuse {deny}")?;
        for rule in self.coverage.missing() {
            match rule.kind {
                RuleKind::Entry => write!(f, "\n  not met: {}", rule.name)?,
                RuleKind::Deny => {
                    write!(f, "\n  not met: {}, {}: {}", rule.workflow, rule.name, meaning(&rule.name))?;
                }
            }
        }
        Ok(())
    }
}
