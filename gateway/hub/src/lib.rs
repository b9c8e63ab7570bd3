//! The client of a model hub: what a repository holds at one commit, and its files, whole or not at all.
//!
//! `portcullis models pull` is its only user, in a process of its own: nothing that serves calls asks a hub for
//! anything. The way of a file:
//!
//! ```text
//! Reference --snapshot--> Snapshot      a revision becomes a commit; every file has a size and a checksum
//! RemoteFile --get--> bytes             redirects are followed by hand: the token stays with the hub
//! bytes --append--> NAME.part           continued after a cut, if the hub still means the same bytes
//! NAME.part --checksum--> NAME          renamed when it is what the hub said; removed when it is not
//! ```
//!
//! The conventions of the hub (paths, token file) come from `hf-hub`, the HTTP client from the one that it brings.
//! Its own downloads are not used: they have no checksums and no commit; decision 0008 says more.
//!
//! Deliberately absent: uploads, a cache, proxies from the environment, more than one connection at a time.

mod access;
mod checksum;
mod client;
mod error;
mod fetch;
mod part;
mod reference;
mod snapshot;
mod space;
mod tries;

pub use access::{Access, AccessError, Token, TokenError};
pub use client::{Client, Options, Pause, SetupError};
pub use error::{Absent, HubError, Refused};
pub use fetch::{Event, OnEvent};
pub use reference::{Reference, ReferenceError};
pub use snapshot::{RemoteFile, Snapshot};
pub use space::free_bytes;
