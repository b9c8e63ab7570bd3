//! The outbound client against real sockets, which this process opens itself.
//!
//! Upstreams are scripted by the test itself, one step after the other, and names are answered by the test; so
//! nothing leaves the machine, and nothing depends on how fast it is. `brokered` is the same with a broker.

#![expect(clippy::unwrap_used, reason = "a broken expectation of a test ends that test")]

mod broker;
mod changing;
mod dialling;
mod forwarding;
mod gate;
mod proxying;
mod signing;
mod tls;
mod tunnel;
mod upstream;
mod waiting;
mod witnessing;

/// Who opens connections in this binary.
const BROKERED: bool = false;
