//! The only code of the gateway that opens an outbound socket.
//!
//! The way out:
//!
//! ```text
//! Admitted + Hop --may_dial--> Ask             the policy decides again, from names alone
//! Ask --Way--> Opened                          by this process or by the broker, which decide once more:
//!     Destination --resolve--> addresses       one look-up per dial; literal addresses are never looked up
//!     addresses --guard--> Checked             all of them, or none
//!     Checked --connect--> Opened              exactly a checked address; on record before it is used
//! Opened --TLS--> Connection                   the certificate must name the policy's host
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
mod broker;
mod client;
mod connect;
mod connection;
mod dial;
mod direct;
mod error;
mod guard;
mod header;
mod kept;
pub mod line;
mod passage;
mod path;
mod pool;
mod proxy;
mod resolver;
mod secret;
mod stats;
mod stream;
mod tcp_info;
mod tls;
pub mod tunnel;
mod way;
mod witness;

pub use body::{Body, BodyError};
pub use broker::{Brokered, Policies, serve as serve_broker};
pub use client::{Client, Options, Outbound, Reply};
pub use dial::{DialError, DialFailure};
pub use direct::{Direct, Surroundings};
pub use error::{FailureKind, Fault, Retry, SendError};
pub use guard::{Reason, Refusal};
pub use passage::Passage;
pub use path::{PathError, path_segment};
pub use proxy::{ProxyError, ProxyFailure};
pub use resolver::{ResolveError, Resolver, SystemResolver};
pub use secret::SecretError;
pub use stats::Stats;
pub use tcp_info::{TcpBytes, bytes as tcp_bytes};
pub use tls::{PinMismatch, Roots, RootsError, TlsError, Unprepared};
pub use way::{Ask, DialId, NotAdopted, Opened, Purpose, Way};
pub use witness::{Close, CloseReason, Decision, Unrecorded, Unwitnessed, Vantage, Verdict, Witness};
