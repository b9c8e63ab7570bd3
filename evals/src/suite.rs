//! A suite: questions with their targets, one JSON object a line.
//!
//! ```json
//! {"id": "add-1", "skill": "addition", "messages": [{"role": "user", "content": "12 + 30"}], "target": {"exact": "12 + 30 = 42"}}
//! ```
//!
//! Messages and tools are passed on as they are written; the endpoint is the one to judge them.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::score::Target;

/// Samples in the order of the file.
#[derive(Debug)]
pub struct Suite {
    /// At least one; ids are unique.
    pub samples: Vec<Sample>,
}

/// One question and what a right answer is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// Unique within the suite.
    pub id: String,
    /// What the sample tests; the report has one row for each.
    pub skill: String,
    /// The conversation, in the form of the API.
    pub messages: Vec<Value>,
    /// The tools on offer, in the form of the API.
    #[serde(default)]
    pub tools: Vec<Value>,
    /// What a right answer is.
    pub target: Target,
}

/// Why a suite cannot be used; lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum SuiteError {
    /// A line is not a sample.
    #[error("line {line}: {source}")]
    Line {
        /// Where.
        line: usize,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// Two samples have one id, so a result could not be told from the other.
    #[error("line {line}: the id `{id}` is used before")]
    SameId {
        /// Where it is used again.
        line: usize,
        /// The id.
        id: String,
    },
    /// There is nothing to ask, and a run of nothing would look like a success.
    #[error("the suite has no samples")]
    Empty,
}

impl Suite {
    /// Reads a suite from the text of its file. Empty lines are passed over.
    ///
    /// # Errors
    /// Returns the first line that is not a sample with an id of its own, or that there is none.
    pub fn parse(text: &str) -> Result<Self, SuiteError> {
        let mut samples = Vec::new();
        let mut ids = BTreeSet::new();
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let line_number = index + 1;
            let sample: Sample = serde_json::from_str(line)
                .map_err(|source| SuiteError::Line { line: line_number, source })?;
            if !ids.insert(sample.id.clone()) {
                return Err(SuiteError::SameId { line: line_number, id: sample.id });
            }
            samples.push(sample);
        }
        if samples.is_empty() { Err(SuiteError::Empty) } else { Ok(Self { samples }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"{"id": "a", "skill": "s", "messages": [], "target": {"exact": "x"}}"#;

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let error = Suite::parse(text).expect_err("the suite is refused").to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_suite_is_read_line_by_line() {
        let suite = Suite::parse(&format!("{SAMPLE}\n\n{}\n", SAMPLE.replace("\"a\"", "\"b\"")))
            .expect("two samples");
        assert_eq!(suite.samples.iter().map(|sample| sample.id.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn an_unusable_suite_names_the_line() {
        refused("", "no samples");
        refused(&format!("{SAMPLE}\n{SAMPLE}"), "line 2: the id `a`");
        refused(&format!("{SAMPLE}\n{{}}"), "line 2: missing field");
        refused(&SAMPLE.replace("\"skill\"", "\"skil\""), "line 1: unknown field `skil`");
        refused(&SAMPLE.replace("exact", "exactly"), "line 1: unknown variant `exactly`");
    }
}
