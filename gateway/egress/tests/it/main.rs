//! The outbound client against real sockets.
//!
//! Upstreams are scripted by the test itself, one step after the other, and names are answered by the test; so
//! nothing leaves the machine, and nothing depends on how fast it is.

#![expect(clippy::unwrap_used, reason = "a broken expectation of a test ends that test")]

mod changing;
mod dialling;
mod forwarding;
mod gate;
mod signing;
mod tls;
mod upstream;
mod waiting;
