//! Tests of a policy: cases in files beside it, and what each comes to.
//!
//! A case says who calls and what is known of the request, and what the policy has to make of it. Running one is
//! the way of a real call without the call: named caller, selected workflow, decision. Deliberately absent: bodies
//! and keys. A case needs neither, so a file of cases holds no secret and no text of a prompt.

mod coverage;
mod junit;
mod report;

use std::sync::Arc;

pub use coverage::{Coverage, Rule, RuleKind};
pub use report::{CaseResult, Report};

use crate::diagnostic::{Diagnostics, Findings, Source};
use crate::explain::{Ask, Outcome};
use crate::file;
use crate::policy::Policy;

/// Files of cases, read and checked.
#[derive(Debug)]
pub struct Cases {
    /// What all of them together are called.
    name: String,
    list: Vec<Case>,
}

/// One case.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) file: Arc<str>,
    pub(crate) line: usize,
    pub(crate) ask: Ask,
    pub(crate) expected: Expected,
}

/// What a case expects.
pub(crate) type Expected = file::ExpectFile;

impl Cases {
    /// Reads a file of cases.
    ///
    /// # Errors
    /// Returns everything that is wrong with the file, not only the first mistake.
    pub fn read(source: &Source) -> Result<Self, Diagnostics> {
        Self::read_all(std::slice::from_ref(source))
    }

    /// Reads several files of cases as one: beside each file of a policy there may be one.
    ///
    /// # Errors
    /// Returns everything that is wrong with the files.
    ///
    /// # Panics
    /// Panics if there is no file.
    pub fn read_all(sources: &[Source]) -> Result<Self, Diagnostics> {
        let mut findings = Findings::default();
        let read = file::cases(sources, &mut findings);
        let names: Vec<&str> = sources.iter().map(|source| source.name.as_str()).collect();
        let (read, _) = findings.finish_all(&names, read)?;
        let name = match names[..] {
            [only] => only.to_owned(),
            [first, ..] => format!("{first} and {} more", names.len() - 1),
            [] => panic!("cases stand in a file"),
        };
        let files: Vec<Arc<str>> = names.into_iter().map(Into::into).collect();
        let list = read.into_iter().map(|case| Case {
            file: Arc::clone(&files[usize::from(case.name.at.file)]),
            line: case.name.at.line,
            name: case.name.value,
            ask: case.ask,
            expected: case.expect,
        });
        Ok(Self { name, list: list.collect() })
    }

    /// Returns how many cases there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Returns whether there is no case.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Runs every case against `policy`.
    pub fn run(&self, policy: &Policy) -> Report {
        let mut coverage = Coverage::of(policy);
        let results = self.list.iter().map(|case| {
            let outcome = policy.answer(&case.ask);
            coverage.record(policy, &case.ask, &outcome);
            CaseResult::new(case, &outcome)
        });
        let results = results.collect();
        Report { name: self.name.clone(), digest: *policy.digest(), results, coverage }
    }
}

impl Expected {
    /// Returns whether `outcome` is what was expected.
    pub(crate) fn accepts(&self, outcome: &Outcome) -> bool {
        let Self { allow, to, providers, code, rule } = self;
        let models = || outcome.to().iter().map(|place| place.model.as_str());
        let served_by = || outcome.to().iter().map(|place| place.provider.as_str());
        *allow == matches!(outcome, Outcome::Allow { .. })
            && to.as_ref().is_none_or(|to| to.iter().map(String::as_str).eq(models()))
            && providers.as_ref().is_none_or(|names| names.iter().map(String::as_str).eq(served_by()))
            && code.as_deref().is_none_or(|code| outcome.code() == Some(code))
            && rule.as_deref().is_none_or(|rule| outcome.rule() == rule)
    }

    /// Returns what was expected, in the words in which [`Self::got`] says what came.
    pub(crate) fn wanted(&self) -> String {
        let Self { allow, to, providers, code, rule } = self;
        let list = |key: &str, names: &Option<Vec<String>>| {
            names.as_ref().map(|names| format!("{key} [{}]", names.join(", ")))
        };
        let parts = [
            Some(if *allow { "allow" } else { "deny" }.to_owned()),
            code.clone(),
            list("to", to),
            list("providers", providers),
            rule.as_ref().map(|rule| format!("by {rule}")),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }

    /// Returns what came, as far as the case or a reader who looks for the mistake cares.
    pub(crate) fn got(&self, outcome: &Outcome) -> String {
        let names = |name: fn(&crate::explain::Place) -> &str| {
            outcome.to().iter().map(name).collect::<Vec<_>>().join(", ")
        };
        let is_allowed = matches!(outcome, Outcome::Allow { .. });
        let parts = [
            Some(outcome.decision().to_owned()),
            outcome.code().map(str::to_owned),
            is_allowed.then(|| format!("to [{}]", names(|place| place.model.as_str()))),
            (is_allowed && self.providers.is_some())
                .then(|| format!("providers [{}]", names(|place| place.provider.as_str()))),
            Some(format!("by {}", outcome.rule())),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
    }
}
