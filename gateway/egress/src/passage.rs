//! The passage of one request: which connection carries it, and how much of it.
//!
//! Whoever sends a request keeps it and looks whenever it likes. It is filled as things happen, so it also tells of a
//! request that was given up half-way: whose bytes may have left all the same.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use hyper_util::client::legacy::connect::CaptureConnection;

use crate::way::DialId;

/// What is known of the passage of one request; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Passage(Arc<Known>);

/// Relaxed: the numbers order nothing, they only add up.
#[derive(Debug, Default)]
struct Known {
    dial: OnceLock<DialId>,
    sent: AtomicU64,
    received: AtomicU64,
}

impl Passage {
    /// Returns the dial that opened the connection on which the request was sent, if it got that far.
    pub fn dial(&self) -> Option<&DialId> {
        self.0.dial.get()
    }

    /// Returns the size of the request's body, once an answer to it has begun.
    pub fn bytes_sent(&self) -> u64 {
        self.0.sent.load(Relaxed)
    }

    /// Returns how many bytes of the answer's body have been read.
    pub fn bytes_received(&self) -> u64 {
        self.0.received.load(Relaxed)
    }

    pub(crate) fn answered(&self, request_bytes: u64) {
        self.0.sent.store(request_bytes, Relaxed);
    }

    pub(crate) fn read(&self, bytes: usize) {
        self.0.received.fetch_add(bytes as u64, Relaxed);
    }
}

/// Notes, by being dropped, on which connection a request was put last: at its end or when it is given up.
///
/// The pool may put it on a second one, if it finds the first one closed before any of it was written.
pub(crate) struct Noting<'a> {
    pub(crate) captured: CaptureConnection,
    pub(crate) passage: &'a Passage,
}

impl Drop for Noting<'_> {
    fn drop(&mut self) {
        let connected = self.captured.connection_metadata();
        let mut extras = http::Extensions::new();
        if let Some(connected) = connected.as_ref() {
            connected.get_extras(&mut extras);
        }
        if let Some(dial) = extras.remove::<DialId>() {
            // One passage is for one request, so there is no name yet.
            let _ = self.passage.0.dial.set(dial);
        }
    }
}
