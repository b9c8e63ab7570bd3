//! The outbound client against real sockets, which a broker opens: every test of `it`, and those of the line.

#![expect(clippy::unwrap_used, reason = "a broken expectation of a test ends that test")]

#[path = "../it/broker.rs"]
mod broker;
#[path = "../it/changing.rs"]
mod changing;
#[path = "../it/dialling.rs"]
mod dialling;
#[path = "../it/forwarding.rs"]
mod forwarding;
#[path = "../it/gate.rs"]
mod gate;
mod line;
#[path = "../it/proxying.rs"]
mod proxying;
#[path = "../it/signing.rs"]
mod signing;
#[path = "../it/tls.rs"]
mod tls;
#[path = "../it/upstream.rs"]
mod upstream;
#[path = "../it/waiting.rs"]
mod waiting;
#[path = "../it/witnessing.rs"]
mod witnessing;

/// Who opens connections in this binary.
const BROKERED: bool = true;
