//! The record of what happened: who asked, which rule let it go where, and how it ended.
//!
//! One JSON object a line, each line bound to the one before it by a hash, durable before the caller is
//! told so. A model call leaves two records: an intent, written before any byte leaves, and a result. An
//! intent without a result is therefore visible; a call without an intent cannot be sent.
//!
//! The way of a record:
//!
//! ```text
//! Log::begin, note, Pending::finish -> line::Draft -> bounded queue -> writer (one thread) -> storage -> fdatasync -> ack
//! Log::open -> recovery (what the last run left)            verify::verify -> scan -> chain (the same reader)
//! reconcile::reconcile: the records of whoever calls, held against those of whoever opens connections
//! ```
//!
//! Deliberately absent: prompt and completion text (no type here can hold it), signatures and outside
//! anchors. The chain is unkeyed: it shows damage and edits inside the log, not the removal of its newest
//! records by somebody who may write the directory.

mod calls;
mod chain;
mod egress;
mod fault;
mod kind;
mod line;
mod log;
mod process;
pub mod reconcile;
mod record;
mod recovery;
mod scan;
mod segment;
mod storage;
#[cfg(test)]
mod tests;
pub mod verify;
mod writer;

pub use calls::{CallsError, RecordedCall, calls};
pub use egress::{DialId, EgressClose, EgressDecision, Tunnel, Verdict};
pub use fault::Fault;
pub use kind::Kind;
pub use log::{AuditError, Log, OpenError, Options, Pending, Receipt, RecordId};
pub use process::{Process, ProcessEnd, SealState, Selftest};
pub use record::{
    Activation, Caller, Carried, ControlEvent, Denial, Ending, Intent, ModelState, Outcome, PolicyRef,
    RequestFacts, Route, Text, Tokens,
};
pub use recovery::{Previous, Recovery, TornTail};
