//! Which upstream a call goes to, whether it is tried again, and which upstreams are left alone for a while.
//!
//! The policy says where a call *may* go and by what rule to choose; this crate chooses, from what calls and probes
//! have shown. It is pure: time and the seed of every chance are arguments, nothing is sent and nothing is read, so a
//! simulation of a million calls takes a second and always goes the same way.
//!
//! ```text
//! question -> Routes::begin -> Plan -> next -> Try(Attempt) -> answered ... dropped at the end
//!                               ^       │          └─ failed ──┐
//!                               └───────┴──── Wait, Spent, Barred
//! ```
//!
//! - [`Order`]: listed, split by conversation, or balanced by calls, latency, cost or prompt prefix.
//! - The breaker ([`BreakerRule`]) blames the right party: see [`Failure`].
//! - Second tries ([`RetryRule`]) only where the upstream did not accept the first, within a budget.
//! - Probes of health and copies for comparison ([`Shadow`]) are decided here and sent by others.
//!
//! Deliberately absent: hedging, which pays twice for one answer; state that is shared between processes.

mod breaker;
mod chance;
mod conversation;
mod failure;
mod health;
mod latency;
mod order;
mod plan;
mod prefixes;
mod price;
mod retry;
mod routes;
mod upstream;
mod wait;

pub use breaker::{BreakerRule, State};
pub use conversation::{Conversation, Prefix};
pub use failure::Failure;
pub use health::{PROBES_TO_CHANGE, Probed};
pub use order::{Balance, Order};
pub use plan::{Plan, Step};
pub use price::{Price, Tokens};
pub use retry::{BUDGET_PER_SECOND, BUDGET_SAVED_MAX, RetryRule};
pub use routes::{Hop, Question, Routes};
pub use upstream::{Attempt, Place, SHADOWS_MAX, Shadow, Snapshot};
pub use wait::{WAIT_MAX, retry_after, retry_after_ms};
