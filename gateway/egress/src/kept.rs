//! The connections that are open, as seen by whoever opened them.
//!
//! A second descriptor of each stays here. With it a connection can be cut that somebody else uses, and at its end the
//! system is asked how many bytes went each way. It is shut down before that question: from then on no descriptor of
//! it can send, so the answer is the last word.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use policy::WorkflowName;
use rustix::net::Shutdown;

use crate::proxy::relay::Relay;
use crate::tcp_info::{self, TcpBytes};
use crate::way::{Ask, DialId};
use crate::witness::{Close, CloseReason, Witness};

/// All connections that are open, and room for those that are being opened.
pub(crate) struct Kept {
    witness: Arc<dyn Witness>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: HashMap<DialId, Connection>,
    /// Open or being opened, for each workflow that has any.
    counts: HashMap<WorkflowName, u32>,
}

struct Connection {
    ask: Ask,
    second: Second,
    since: Instant,
    /// Ends with the connection.
    _place: Place,
}

/// What stays with whoever opened a connection.
pub(crate) struct Second {
    /// Another descriptor of what was handed over.
    pub(crate) socket: OwnedFd,
    /// What carries the bytes, where what was handed over does not itself lead out of this process.
    pub(crate) relay: Option<Relay>,
}

impl Second {
    fn bytes(&self) -> Option<TcpBytes> {
        match &self.relay {
            Some(relay) => Some(TcpBytes { sent: relay.bytes_sent(), received: relay.bytes_received() }),
            None => tcp_info::bytes(self.socket.as_fd()),
        }
    }
}

/// Room for one connection of a workflow, given back on drop.
pub(crate) struct Place {
    kept: Arc<Kept>,
    workflow: WorkflowName,
}

impl Kept {
    pub(crate) fn new(witness: Arc<dyn Witness>) -> Arc<Self> {
        Arc::new(Self { witness, state: Mutex::default() })
    }

    /// Takes a place for a connection of `workflow`, unless `max` are taken.
    pub(crate) fn place(self: &Arc<Self>, workflow: &WorkflowName, max: u32) -> Option<Place> {
        let mut state = self.state();
        let count = state.counts.entry(workflow.clone()).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Place { kept: Arc::clone(self), workflow: workflow.clone() })
    }

    /// Keeps what stays here of a connection.
    pub(crate) fn keep(&self, dial: DialId, ask: Ask, second: Second, place: Place) {
        let connection = Connection { ask, second, since: Instant::now(), _place: place };
        self.state().open.insert(dial, connection);
    }

    /// Ends a connection, if it is still open.
    pub(crate) fn end(&self, dial: &DialId, reason: CloseReason) {
        let connection = self.state().open.remove(dial);
        if let Some(connection) = connection {
            self.close(dial.clone(), &connection, reason);
        }
    }

    /// Ends every connection that was asked for with something that `is_over`.
    pub(crate) fn end_where(&self, reason: CloseReason, is_over: impl Fn(&Ask) -> bool) {
        let over: Vec<_> = self.state().open.extract_if(|_, connection| is_over(&connection.ask)).collect();
        for (dial, connection) in over {
            self.close(dial, &connection, reason);
        }
    }

    fn close(&self, dial: DialId, connection: &Connection, reason: CloseReason) {
        // One that the other side has reset cannot be shut down, and need not be.
        let _ = rustix::net::shutdown(&connection.second.socket, Shutdown::Both);
        let open = connection.since.elapsed();
        let bytes = connection.second.bytes();
        self.witness.closed(Close {
            dial,
            reason,
            bytes_sent: bytes.map(|bytes| bytes.sent),
            bytes_received: bytes.map(|bytes| bytes.received),
            open,
        });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.kept.state();
        if let Some(count) = state.counts.get_mut(&self.workflow) {
            *count -= 1;
            if *count == 0 {
                state.counts.remove(&self.workflow);
            }
        }
    }
}
