//! What a rule reports: which rule, where, and what to do about it.

use std::fmt;

/// One place that breaks one rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, relative to the repository's root, with forward slashes.
    pub path: String,
    /// The line, counted from 1; absent where the whole file is meant.
    pub line: Option<usize>,
    /// The rule that is broken.
    pub rule: Rule,
    /// What is wrong there, in a form that says what would be right.
    pub message: String,
}

impl Finding {
    /// Returns a finding about a whole file.
    pub fn in_file(path: &str, rule: Rule, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: None, rule, message: message.into() }
    }

    /// Returns a finding about one line.
    pub fn at_line(path: &str, line: usize, rule: Rule, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line: Some(line), rule, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "{}:{line}: [{}] {}", self.path, self.rule, self.message),
            None => write!(out, "{}: [{}] {}", self.path, self.rule, self.message),
        }
    }
}

/// The name of a rule, as it is written in an allowance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// Every Rust file opens with `//!`.
    Header,
    /// A file holds a limited number of lines of code.
    Length,
    /// Words that mean unfinished work do not stay.
    Unfinished,
    /// No test is switched off.
    Ignored,
    /// No module is named after the fact that its content has no name.
    ModuleName,
    /// The crates of the workspace depend on each other as the table says.
    Edges,
    /// A crate depends only on what it is allowed to be able to do.
    Dependency,
    /// Only the crates that may open a socket name what opens one.
    Socket,
    /// Pure code names no clock, no file, no environment.
    Pure,
    /// `unsafe` stands only where it is listed.
    Unsafe,
    /// `feature = "cuda"` stands only where it is listed.
    Cuda,
    /// Every Rust file is part of a crate.
    DeadFile,
    /// Files and folders stay small enough for a clone to be quick.
    Size,
    /// Decisions are numbered without gaps and titled alike.
    Decisions,
    /// A relative link in a document leads to a file.
    Links,
    /// A test that a document names exists.
    Tests,
    /// Metrics, their table and the dashboards agree.
    Metrics,
    /// An exception says which rule and why, and there are few.
    Allowance,
}

impl Rule {
    /// Returns the rule's name in an allowance and in a finding.
    pub fn name(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Length => "length",
            Self::Unfinished => "unfinished",
            Self::Ignored => "ignored",
            Self::ModuleName => "module-name",
            Self::Edges => "edges",
            Self::Dependency => "dependency",
            Self::Socket => "socket",
            Self::Pure => "pure",
            Self::Unsafe => "unsafe",
            Self::Cuda => "cuda",
            Self::DeadFile => "dead-file",
            Self::Size => "size",
            Self::Decisions => "decisions",
            Self::Links => "links",
            Self::Tests => "tests",
            Self::Metrics => "metrics",
            Self::Allowance => "allowance",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.name())
    }
}
