//! What went wrong, in no dialect's words; each dialect writes it as its clients expect it.

use std::borrow::Cow;

use crate::ParseError;

/// One error as a client is to hear of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The class of the error.
    pub kind: FaultKind,
    /// The precise error, for a program.
    pub code: Option<Cow<'static, str>>,
    /// What happened and what to do about it, for a person.
    pub message: String,
    /// The offending field of the request, if it is one field.
    pub param: Option<String>,
}

/// The classes of errors that clients tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The request itself is wrong; sending it again unchanged will fail again.
    InvalidRequest,
    /// The caller did not prove who it is.
    Authentication,
    /// Money is missing.
    Billing,
    /// The caller is known and may not do this.
    Permission,
    /// The model or path does not exist for this caller.
    NotFound,
    /// Somebody else changed it meanwhile.
    Conflict,
    /// The request is too large.
    TooLarge,
    /// A limit of rate or money is reached; later it may work.
    RateLimit,
    /// There is no room at the moment; later it may work.
    Overloaded,
    /// The answer did not come in time.
    Timeout,
    /// The service or an upstream of it failed.
    Server,
}

impl Fault {
    /// Creates an error of the class `kind` that concerns no single field.
    pub fn new(kind: FaultKind, code: &'static str, message: impl Into<String>) -> Self {
        Self { kind, code: Some(Cow::Borrowed(code)), message: message.into(), param: None }
    }
}

impl FaultKind {
    /// Returns the class that an HTTP status stands for, where an error says nothing better.
    pub fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Authentication,
            402 => Self::Billing,
            403 => Self::Permission,
            404 => Self::NotFound,
            408 | 504 => Self::Timeout,
            409 => Self::Conflict,
            413 => Self::TooLarge,
            429 => Self::RateLimit,
            503 | 529 => Self::Overloaded,
            400..=499 => Self::InvalidRequest,
            _ => Self::Server,
        }
    }
}

impl From<&ParseError> for Fault {
    fn from(error: &ParseError) -> Self {
        Self {
            kind: FaultKind::InvalidRequest,
            code: Some(error.code().into()),
            message: error.to_string(),
            param: error.param().map(str::to_owned),
        }
    }
}
