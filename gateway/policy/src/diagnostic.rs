//! What is wrong with a policy file, where, and what to do about it.
//!
//! Reading and compiling collect findings and go on, so one run shows every mistake. A document that cannot be
//! scanned at all is the exception: nothing after the broken place can be trusted.

use std::fmt;
use std::sync::Arc;

/// Findings kept for one policy; the rest are only counted. A reader fixes the first few and runs again.
const FINDINGS_MAX: usize = 100;

/// A policy file: its text and what to call it in messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The name shown before each line number, usually the path as the user gave it.
    pub name: String,
    /// The whole text of the file.
    pub text: String,
}

/// A place in a file. Lines and columns count from 1; columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    /// Which of the files that are read together, from 0.
    pub(crate) file: u16,
    pub(crate) line: usize,
    pub(crate) column: usize,
}

impl Position {
    /// Returns the place of a file's first character.
    pub(crate) fn start_of(file: u16) -> Self {
        Self { file, line: 1, column: 1 }
    }
}

/// A value and where it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spanned<T> {
    pub(crate) value: T,
    pub(crate) at: Position,
}

/// Whether a finding keeps the policy from loading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The policy does not load.
    Error,
    /// The policy loads, and probably means something else than it says.
    Warning,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, by the name of its [`Source`].
    pub file: Arc<str>,
    /// The line, counted from 1.
    pub line: usize,
    /// The column in characters, counted from 1.
    pub column: usize,
    /// Whether the policy still loads.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to write instead, where that is known.
    pub hint: Option<String>,
}

impl Diagnostic {
    /// Returns the finding as `file:line:column: message`, with the hint on a second line.
    pub fn render(&self, file: &str) -> String {
        let label = match self.severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        let hint = self.hint.as_ref().map(|hint| format!("\n  hint: {hint}")).unwrap_or_default();
        format!("{file}:{}:{}: {label}{}{hint}", self.line, self.column, self.message)
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(&self.file))
    }
}

/// Why a policy does not load: every finding, in the order of the files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostics {
    /// The first of the files.
    file: Arc<str>,
    list: Vec<Diagnostic>,
    omitted_count: usize,
}

impl Diagnostics {
    /// Returns the findings in the order of the files, errors and warnings together.
    pub fn list(&self) -> &[Diagnostic] {
        &self.list
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.list.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{diagnostic}")?;
        }
        match self.omitted_count {
            0 => Ok(()),
            count => write!(f, "\n{}: {count} more findings are not shown", self.file),
        }
    }
}

impl std::error::Error for Diagnostics {}

/// One finding, in a file that has only its number yet.
#[derive(Debug)]
struct Finding {
    at: Position,
    severity: Severity,
    message: String,
    hint: Option<String>,
}

/// The findings so far.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    list: Vec<Finding>,
    omitted_count: usize,
    has_error: bool,
}

impl Findings {
    /// Adds an error and what to do about it.
    pub(crate) fn error_with_hint(
        &mut self,
        at: Position,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        self.add(Severity::Error, at, message.into(), Some(hint.into()));
    }

    /// Adds an error whose hint names the nearest of `candidates`, or lists them if none is near.
    pub(crate) fn unknown<'c>(
        &mut self,
        at: Position,
        message: impl Into<String>,
        word: &str,
        candidates: impl IntoIterator<Item = &'c str>,
    ) {
        // Looking for the nearest name costs more than the rest, and nobody would see it.
        let hint = (self.list.len() < FINDINGS_MAX).then(|| suggestion(word, candidates));
        self.add(Severity::Error, at, message.into(), hint);
    }

    /// Adds a warning and what to do about it.
    pub(crate) fn warning(&mut self, at: Position, message: impl Into<String>, hint: impl Into<String>) {
        self.add(Severity::Warning, at, message.into(), Some(hint.into()));
    }

    /// Returns whether the policy does not load.
    pub(crate) fn has_error(&self) -> bool {
        self.has_error
    }

    /// Returns what was read and the warnings if nothing is wrong, otherwise everything found in `file`.
    pub(crate) fn finish<T>(self, file: &str, read: Option<T>) -> Result<(T, Vec<Diagnostic>), Diagnostics> {
        self.finish_all(&[file], read)
    }

    /// Does what [`Self::finish`] does, for the files to which the findings' places belong.
    pub(crate) fn finish_all<T>(
        mut self,
        files: &[&str],
        read: Option<T>,
    ) -> Result<(T, Vec<Diagnostic>), Diagnostics> {
        debug_assert!(read.is_some() || self.has_error, "whatever is left out has been reported");
        let files: Vec<Arc<str>> = files.iter().map(|file| (*file).into()).collect();
        // Stable, so findings at one place stay in the order in which they were made.
        self.list.sort_by_key(|finding| finding.at);
        let Self { list, omitted_count, has_error } = self;
        let list = list.into_iter().map(|Finding { at, severity, message, hint }| {
            let file = files[usize::from(at.file)].clone();
            Diagnostic { file, line: at.line, column: at.column, severity, message, hint }
        });
        let list: Vec<Diagnostic> = list.collect();
        match read {
            Some(read) if !has_error => Ok((read, list)),
            _ => Err(Diagnostics { file: files[0].clone(), list, omitted_count }),
        }
    }

    fn add(&mut self, severity: Severity, at: Position, message: String, hint: Option<String>) {
        self.has_error |= severity == Severity::Error;
        if self.list.len() == FINDINGS_MAX {
            self.omitted_count += 1;
            return;
        }
        self.list.push(Finding { at, severity, message, hint });
    }
}

/// Candidates named in a hint when none is near enough to be the one that was meant.
const CANDIDATES_SHOWN_MAX: usize = 12;

fn suggestion<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> String {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let distance = |candidate: &str| strsim::damerau_levenshtein(word, candidate);
    let Some(nearest) = candidates.iter().copied().min_by_key(|candidate| distance(candidate)) else {
        return "none is declared in this file".to_owned();
    };
    // A third of the word may differ: `base_ur` is a slip, `bananas` is something else.
    if distance(nearest) * 3 <= nearest.len().max(3) {
        return format!("did you mean `{nearest}`?");
    }
    let shown: Vec<String> =
        candidates.iter().take(CANDIDATES_SHOWN_MAX).map(|candidate| format!("`{candidate}`")).collect();
    let more = if candidates.len() > CANDIDATES_SHOWN_MAX { ", …" } else { "" };
    format!("there is {}{more}", shown.join(", "))
}
