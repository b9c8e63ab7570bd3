//! The one thread that writes: it takes what is queued, writes it as one group, syncs once, and tells
//! everybody who waits.
//!
//! There is no timer. While one sync runs, the next group gathers in the queue, so groups grow with the load
//! and a lone record never waits for company.
//!
//! The first error of the storage ends the log for good. After a failed fsync the kernel may have dropped
//! the dirty pages, and a second fsync that succeeds would vouch for bytes that are not on the disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, oneshot};

use crate::chain;
use crate::kind::Kind;
use crate::line::{Cause, Draft, LINE_BYTES_MAX, Opening};
use crate::log::{AuditError, Receipt, RecordId};
use crate::scan::Head;
use crate::segment::Segment;
use crate::storage::Storage;

/// Records written and synced together. More would hold the first of them back for no gain: at this size
/// the sync's cost per record is already small.
pub(crate) const GROUP_RECORDS_MAX: usize = 256;

/// Tells the waiting caller what became of its record.
pub(crate) type Ack = oneshot::Sender<Result<Receipt, AuditError>>;

/// What travels in the queue.
pub(crate) enum Job {
    /// Write a record. Nobody waits for it if there is no `ack`.
    Append { draft: Draft, ack: Option<Ack> },
    /// Take no more work, finish what is promised, write `log.close`, and end.
    Close { ack: oneshot::Sender<Result<(), AuditError>> },
}

/// The state of the open log; owns its storage.
pub(crate) struct Writer<S> {
    storage: S,
    segment: Segment,
    /// Bytes in the current segment.
    segment_bytes: u64,
    /// Size from which a new segment is begun.
    segment_bytes_max: u64,
    head: Head,
    /// Intents whose result is still to come.
    pending: u64,
    /// Kept between groups, so that a steady load allocates nothing.
    buffer: Vec<u8>,
    healthy: Arc<AtomicBool>,
}

/// Where a new run begins.
pub(crate) struct Start {
    pub(crate) head: Head,
    pub(crate) boot: u32,
    /// Intents of earlier runs that `gaps` report as orphans.
    pub(crate) pending: u64,
    pub(crate) gaps: Vec<Draft>,
    pub(crate) segment_bytes_max: u64,
}

impl<S: Storage> Writer<S> {
    /// Begins the first segment of a run; its `log.open` and the gaps are durable when this returns.
    pub(crate) fn start(storage: S, start: &Start) -> io::Result<Self> {
        let mut writer = Self {
            storage,
            segment: Segment::first(start.boot),
            segment_bytes: 0,
            segment_bytes_max: start.segment_bytes_max,
            head: start.head,
            pending: start.pending,
            buffer: Vec::new(),
            healthy: Arc::new(AtomicBool::new(true)),
        };
        writer.storage.create(writer.segment)?;
        writer.encode(&Draft::open(Opening { cause: Cause::Start, pending: writer.pending }));
        start.gaps.iter().for_each(|gap| writer.encode(gap));
        writer.flush()?;
        // The gaps have taken the orphans over.
        writer.pending = 0;
        Ok(writer)
    }

    /// The flag that falls when the log can no longer be written.
    pub(crate) fn healthy(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.healthy)
    }

    /// Writes groups until the queue is closed and every promised result has come, then `log.close`.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Job>) {
        let mut jobs = Vec::with_capacity(GROUP_RECORDS_MAX);
        let mut closing = Vec::new();
        while queue.blocking_recv_many(&mut jobs, GROUP_RECORDS_MAX) > 0 {
            let mut group = Vec::with_capacity(jobs.len());
            for job in jobs.drain(..) {
                match job {
                    Job::Append { draft, ack } => group.push((draft, ack)),
                    Job::Close { ack } => {
                        queue.close();
                        closing.push(ack);
                    }
                }
            }
            self.commit(group);
        }
        let closed = self.append([&Draft::close()].into_iter()).map(|_| ());
        // The lock is released before anybody hears of the end, so that the directory can be opened again.
        drop(self);
        for ack in closing {
            // Whoever asked may have stopped waiting.
            let _ = ack.send(closed.clone());
        }
    }

    fn commit(&mut self, group: Vec<(Draft, Option<Ack>)>) {
        if group.is_empty() {
            return;
        }
        let written = self.append(group.iter().map(|(draft, _)| draft));
        for (place, (draft, ack)) in (0..).zip(group) {
            let receipt = written.clone().map(|first| Receipt { id: RecordId(draft.id), seq: first + place });
            if let Some(ack) = ack {
                // A caller that went away left its record behind all the same.
                let _ = ack.send(receipt);
            }
        }
    }

    /// Makes a group durable and returns the sequence number of its first record.
    fn append<'d>(&mut self, drafts: impl Iterator<Item = &'d Draft>) -> Result<u64, AuditError> {
        if !self.healthy.load(Ordering::Relaxed) {
            return Err(AuditError::Stopped);
        }
        self.try_append(drafts).map_err(|error| {
            self.healthy.store(false, Ordering::Relaxed);
            tracing::error!(%error, segment = %self.segment, "audit log stopped: calls are refused from now on");
            AuditError::Write(Arc::new(error))
        })
    }

    fn try_append<'d>(&mut self, drafts: impl Iterator<Item = &'d Draft>) -> io::Result<u64> {
        if self.segment_bytes >= self.segment_bytes_max {
            self.segment = self.segment.next();
            self.storage.create(self.segment)?;
            self.segment_bytes = 0;
            self.encode(&Draft::open(Opening { cause: Cause::Roll, pending: self.pending }));
        }
        let first = self.head.seq + 1;
        drafts.for_each(|draft| self.encode(draft));
        self.flush()?;
        Ok(first)
    }

    /// Adds a record to the group that the next flush writes.
    fn encode(&mut self, draft: &Draft) {
        let start = self.buffer.len();
        let seq = self.head.seq + 1;
        draft.write(seq, self.segment.boot, &mut self.buffer);
        self.head = Head { seq, leaf: chain::seal(self.head.leaf, &mut self.buffer, start) };
        self.buffer.push(b'\n');
        // A longer line would be written, but could never be read back.
        assert!(self.buffer.len() - start < LINE_BYTES_MAX, "every member of a record is bounded");
        match draft.kind {
            Kind::Intent => self.pending += 1,
            Kind::Result => self.pending -= 1,
            _ => {}
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.storage.append(&self.buffer)?;
        self.storage.sync()?;
        self.segment_bytes += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }
}
