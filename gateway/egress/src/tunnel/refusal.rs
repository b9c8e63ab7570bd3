//! What a client is told when it gets no connection.
//!
//! For programs there are a status, `Proxy-Status` (RFC 9209), and the headers by which tools recognise a refusal of
//! Squid or of smokescreen; for people there is one line that says what to do next. A refusal by policy is never a 407,
//! on which some clients ask again and again.
//!
//! Deliberately absent: anything that the client sent. A host is repeated only in its normal form, in which nothing
//! needs escaping.

use policy::{IdentityError, SelectError, WorkflowName};

use super::credentials::CredentialsError;
use super::head::HEAD_BYTES_MAX;
use super::request::RequestError;
use super::rules::{Denied, NotAdmitted};
use super::target::Target;
use crate::dial::DialError;
use crate::guard;

/// A request that gets no connection.
#[derive(Debug)]
pub(super) struct Refusal {
    class: Class,
    code: &'static str,
    /// One line of printable ASCII.
    message: String,
}

/// What kind of answer it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    BadRequest,
    Timeout,
    TooLarge,
    Credentials,
    Denied,
    Address,
    TooMany,
    Full,
    Dns,
    Unreachable,
    NoAnswer,
    Internal,
}

impl Class {
    /// Returns status and reason, the error type of RFC 9209, and what Squid would call it.
    fn words(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::BadRequest => ("400 Bad Request", "http_request_error", "ERR_INVALID_REQ 0"),
            Self::Timeout => ("408 Request Timeout", "http_request_error", "ERR_REQUEST_START_TIMEOUT 0"),
            Self::TooLarge => ("431 Request Header Fields Too Large", "http_request_error", "ERR_TOO_BIG 0"),
            Self::Credentials => {
                ("407 Proxy Authentication Required", "http_request_denied", "ERR_CACHE_ACCESS_DENIED 0")
            }
            Self::Denied => ("403 Forbidden", "http_request_denied", "ERR_ACCESS_DENIED 0"),
            Self::Address => ("403 Forbidden", "destination_ip_prohibited", "ERR_ACCESS_DENIED 0"),
            Self::TooMany => ("429 Too Many Requests", "connection_limit_reached", "ERR_ACCESS_DENIED 0"),
            Self::Full => ("503 Service Unavailable", "connection_limit_reached", "ERR_CANNOT_FORWARD 0"),
            Self::Dns => ("502 Bad Gateway", "dns_error", "ERR_DNS_FAIL 0"),
            Self::Unreachable => ("502 Bad Gateway", "connection_refused", "ERR_CONNECT_FAIL 111"),
            Self::NoAnswer => ("504 Gateway Timeout", "connection_timeout", "ERR_CONNECT_FAIL 110"),
            Self::Internal => ("503 Service Unavailable", "proxy_internal_error", "ERR_CANNOT_FORWARD 0"),
        }
    }
}

impl Refusal {
    fn new(class: Class, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        debug_assert!(message.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{message:?}");
        Self { class, code, message }
    }

    /// Returns the code for records; one of a closed set.
    pub(super) fn code(&self) -> &'static str {
        self.code
    }

    pub(super) fn request(error: &RequestError) -> Self {
        Self::new(Class::BadRequest, "tunnel.request", error.to_string())
    }

    pub(super) fn head_too_large() -> Self {
        let message = format!("the head of a request may have {HEAD_BYTES_MAX} bytes");
        Self::new(Class::TooLarge, "tunnel.head_too_large", message)
    }

    pub(super) fn head_too_late() -> Self {
        Self::new(Class::Timeout, "tunnel.timeout_head", "the request did not arrive in time")
    }

    pub(super) fn credentials(error: CredentialsError) -> Self {
        match error {
            // A client that can do both learns by this answer which of its schemes to use.
            CredentialsError::Scheme => Self::no_credentials(),
            CredentialsError::Unreadable => Self::new(Class::Denied, "tunnel.credentials", error.to_string()),
        }
    }

    fn no_credentials() -> Self {
        let message = "an API key is required: set the proxy as http://WORKFLOW:KEY@HOST:PORT; your platform team \
                       makes a key with `portcullis key new`";
        Self::new(Class::Credentials, "tunnel.no_credentials", message)
    }

    pub(super) fn not_admitted(error: &NotAdmitted) -> Self {
        let denied = |code, message: String| Self::new(Class::Denied, code, message);
        match error {
            NotAdmitted::Identity(IdentityError::Missing) => Self::no_credentials(),
            NotAdmitted::Identity(error) => {
                denied("tunnel.credentials", format!("{error}; ask your platform team for a new one"))
            }
            NotAdmitted::Workflow(SelectError::NotEntitled) => {
                denied("tunnel.workflow", "the user name is no workflow of this caller".to_owned())
            }
            NotAdmitted::Workflow(error @ SelectError::Ambiguous(_)) => {
                denied("tunnel.workflow", format!("{error}; write its name as the user name"))
            }
        }
    }

    pub(super) fn denied(denied: Denied, workflow: &WorkflowName, target: &Target) -> Self {
        let message = match denied {
            Denied::NotNamed => format!(
                "workflow `{workflow}` may not reach {target}; if it should, add it to workflows.{workflow}.egress.hosts \
                 in routes.yaml"
            ),
            Denied::OfProvider => format!(
                "{target} is a provider's: send calls to the gateway, or name it with its port in \
                 workflows.{workflow}.egress.hosts of routes.yaml"
            ),
            Denied::Sealed => format!("workflow `{workflow}` is sealed and reaches nothing outside"),
            Denied::DeniedHost => {
                format!("{} is in defaults.deny_hosts of routes.yaml, for every workflow", target.host())
            }
            Denied::Revoked(_) | Denied::Gone => format!("{denied}; ask your platform team"),
        };
        Self::new(Class::Denied, denied.code(), message)
    }

    pub(super) fn too_many(workflow: &WorkflowName, max: u32) -> Self {
        let message =
            format!("workflow `{workflow}` has {max} connections open, which is its limit; close some");
        Self::new(Class::TooMany, "tunnel.limit_workflow", message)
    }

    pub(super) fn full() -> Self {
        Self::new(
            Class::Full,
            "tunnel.limit",
            "the proxy has as many connections as it may have; try again later",
        )
    }

    pub(super) fn unrecorded() -> Self {
        Self::new(
            Class::Internal,
            "egress.unrecorded",
            "the request cannot be put on record, so it goes nowhere",
        )
    }

    pub(super) fn dial(error: &DialError, target: &Target) -> Self {
        let host = target.host();
        match error {
            DialError::Dns(_) => Self::new(Class::Dns, "egress.dns", format!("{host} does not resolve")),
            DialError::Address(guard::Refusal::Mixed { .. }) => Self::new(
                Class::Address,
                "egress.mixed_answer",
                format!("{host} resolves to addresses of which some may not be dialled, so none is"),
            ),
            DialError::Address(refusal) => {
                let reason = match refusal {
                    guard::Refusal::Address { reason, .. } | guard::Refusal::Mixed { reason, .. } => {
                        reason.to_string()
                    }
                    guard::Refusal::Empty => refusal.to_string(),
                };
                Self::new(Class::Address, "egress.address", format!("{host} may not be dialled: {reason}"))
            }
            DialError::Timeout(_) => {
                Self::new(Class::NoAnswer, "egress.timeout_connect", format!("{target} does not answer"))
            }
            DialError::Connect { source, .. } if source.kind() == std::io::ErrorKind::TimedOut => {
                Self::new(Class::NoAnswer, "egress.timeout_connect", format!("{target} does not answer"))
            }
            _ => Self::new(Class::Unreachable, "egress.connect", format!("{target} takes no connection")),
        }
    }

    /// Writes the whole answer, after which the connection is closed.
    pub(super) fn response(&self) -> String {
        let Self { class, code, message } = self;
        let (status, error, squid) = class.words();
        let challenge = match class {
            Class::Credentials => "proxy-authenticate: Basic realm=\"portcullis\"\r\n",
            _ => "",
        };
        format!(
            "HTTP/1.1 {status}\r\n{challenge}proxy-status: portcullis; error={error}; details=\"{code}\"\r\n\
             x-portcullis-error: {code}\r\nx-squid-error: {squid}\r\nx-smokescreen-error: {message}\r\n\
             content-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{message}\n",
            message.len() + 1
        )
    }
}
