//! The only code of the gateway that opens an outbound socket.
//!
//! The way out:
//!
//! ```text
//! Admitted + Hop --may_dial--> Destination     the policy decides again, from names alone
//! Destination --resolve--> addresses           one look-up per dial; literal addresses are never looked up
//! addresses --guard--> Checked                 all of them, or none
//! Checked --connect, TLS--> Connection         exactly a checked address; the certificate must name the host
//! Outbound --path, header, auth--> Request     below the base path, headers by list, the provider's credential
//! Connection + Request --HTTP--> Reply         headers by list, no redirects, every wait bounded
//! ```
//!
//! Two facts hold by construction. A socket is opened only to a checked address of a destination that
//! the policy declares; and nothing that a caller or an upstream sends can name a destination.
//!
//! Deliberately absent: proxies from the environment, redirects, cookies, caches of answers, retries.

pub mod address;
mod auth;
mod body;
mod client;
mod connection;
mod dial;
mod error;
mod guard;
mod header;
mod path;
mod pool;
mod resolver;
mod secret;
mod stats;
mod tls;

pub use body::{Body, BodyError};
pub use client::{Client, Options, Outbound, Reply};
pub use dial::DialError;
pub use error::{FailureKind, Fault, Retry, SendError};
pub use guard::{Reason, Refusal};
pub use path::{PathError, path_segment};
pub use resolver::{ResolveError, Resolver, SystemResolver};
pub use secret::SecretError;
pub use stats::Stats;
pub use tls::{Roots, RootsError};
