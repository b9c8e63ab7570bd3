//! The one thread that writes: it takes what is queued, writes it as one group, syncs once, and tells
//! everybody who waits.
//!
//! No record waits for company: while one sync runs, the next group gathers in the queue, so groups grow with the
//! load. The one timer is for records that nobody awaits durably: they are written at once, and share a sync.
//!
//! The first error of the storage ends the log for good. After a failed fsync the kernel may have dropped
//! the dirty pages, and a second fsync that succeeds would vouch for bytes that are not on the disk.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use tokio::runtime::{self, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

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

/// Longest time for which a written record may still be lost with the machine, where nobody awaits more. One sync in
/// this time costs the records in between next to nothing; a power cut costs the evidence of this time.
const SYNC_DELAY_MAX: Duration = Duration::from_millis(50);

/// Tells the waiting caller what became of its record.
pub(crate) type Ack = oneshot::Sender<Result<Receipt, AuditError>>;

/// Tells a waiting thread that its record is written.
pub(crate) type Written = SyncSender<Result<(), AuditError>>;

/// What travels in the queue.
pub(crate) enum Job {
    /// Write a record and sync it. Nobody waits for it if there is no `ack`.
    Append { draft: Draft, ack: Option<Ack> },
    /// Write a record, and sync it within [`SYNC_DELAY_MAX`].
    Write { draft: Draft, written: Option<Written> },
    /// Take no more work, finish what is promised, write `log.close`, and end.
    Close { ack: oneshot::Sender<Result<(), AuditError>> },
}

/// A record of the group that is being written, and who waits for it.
struct Queued {
    draft: Draft,
    awaited: Awaited,
}

/// What somebody waits for, if anybody does.
enum Awaited {
    Durable(Option<Ack>),
    Written(Option<Written>),
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
    /// When what is written has to be synced; nothing if it is.
    sync_due: Option<Instant>,
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
            sync_due: None,
            healthy: Arc::new(AtomicBool::new(true)),
        };
        writer.storage.create(writer.segment)?;
        writer.encode(&Draft::open(Opening { cause: Cause::Start, pending: writer.pending }));
        start.gaps.iter().for_each(|gap| writer.encode(gap));
        writer.write_out()?;
        writer.sync()?;
        // The gaps have taken the orphans over.
        writer.pending = 0;
        Ok(writer)
    }

    /// The flag that falls when the log can no longer be written.
    pub(crate) fn healthy(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.healthy)
    }

    /// Writes groups until the queue is closed and every promised result has come, then `log.close`.
    ///
    /// `clock` is what the one timer runs on.
    pub(crate) fn run(mut self, mut queue: mpsc::Receiver<Job>, clock: &Runtime) {
        let mut jobs = Vec::with_capacity(GROUP_RECORDS_MAX);
        let mut closing = Vec::new();
        while self.take(&mut queue, &mut jobs, clock) > 0 {
            let mut group = Vec::with_capacity(jobs.len());
            for job in jobs.drain(..) {
                match job {
                    Job::Append { draft, ack } => {
                        group.push(Queued { draft, awaited: Awaited::Durable(ack) });
                    }
                    Job::Write { draft, written } => {
                        group.push(Queued { draft, awaited: Awaited::Written(written) });
                    }
                    Job::Close { ack } => {
                        queue.close();
                        closing.push(ack);
                    }
                }
            }
            self.commit(group);
        }
        let close = Draft::close();
        let closed = self.attempt(|writer| writer.write([&close].into_iter()).and_then(|_| writer.sync()));
        // The lock is released before anybody hears of the end, so that the directory can be opened again.
        drop(self);
        for ack in closing {
            // Whoever asked may have stopped waiting.
            let _ = ack.send(closed.clone());
        }
    }

    /// Waits for the next jobs, and meanwhile syncs what is due. Returns 0 once there will be no more.
    fn take(&mut self, queue: &mut mpsc::Receiver<Job>, jobs: &mut Vec<Job>, clock: &Runtime) -> usize {
        if let Some(due) = self.sync_due {
            let waiting = async { timeout_at(due, queue.recv_many(jobs, GROUP_RECORDS_MAX)).await };
            if let Ok(count) = clock.block_on(waiting) {
                return count;
            }
            // The error is kept in `healthy`: nobody waits for this sync.
            let _ = self.attempt(Self::sync);
        }
        queue.blocking_recv_many(jobs, GROUP_RECORDS_MAX)
    }

    fn commit(&mut self, mut group: Vec<Queued>) {
        if group.is_empty() {
            return;
        }
        let first = self.attempt(|writer| writer.write(group.iter().map(|queued| &queued.draft)));
        let mut sync_now = self.sync_due.is_some_and(|due| due <= Instant::now());
        for queued in &mut group {
            match &mut queued.awaited {
                Awaited::Durable(_) => sync_now = true,
                Awaited::Written(written) => {
                    // Whoever asked may have stopped waiting; there is room for one answer.
                    let _ = written.take().map(|written| written.try_send(first.clone().map(|_| ())));
                }
            }
        }
        let durable = match first {
            Ok(first) if sync_now => self.attempt(Self::sync).map(|()| first),
            first => first,
        };
        for (place, Queued { draft, awaited }) in (0..).zip(group) {
            let receipt = durable.clone().map(|first| Receipt { id: RecordId(draft.id), seq: first + place });
            if let Awaited::Durable(Some(ack)) = awaited {
                // A caller that went away left its record behind all the same.
                let _ = ack.send(receipt);
            }
        }
    }

    /// Does something with the storage, unless it failed before. The first failure ends the log.
    fn attempt<T>(&mut self, action: impl FnOnce(&mut Self) -> io::Result<T>) -> Result<T, AuditError> {
        if !self.healthy.load(Ordering::Relaxed) {
            return Err(AuditError::Stopped);
        }
        action(self).map_err(|error| {
            self.healthy.store(false, Ordering::Relaxed);
            self.sync_due = None;
            tracing::error!(%error, segment = %self.segment, "audit log stopped: calls are refused from now on");
            AuditError::Write(Arc::new(error))
        })
    }

    /// Writes a group and returns the sequence number of its first record.
    fn write<'d>(&mut self, drafts: impl Iterator<Item = &'d Draft>) -> io::Result<u64> {
        if self.segment_bytes >= self.segment_bytes_max {
            if self.sync_due.is_some() {
                // Recovery syncs the last file only: those before it must be whole when the next one begins.
                self.sync()?;
            }
            self.segment = self.segment.next();
            self.storage.create(self.segment)?;
            self.segment_bytes = 0;
            self.encode(&Draft::open(Opening { cause: Cause::Roll, pending: self.pending }));
        }
        let first = self.head.seq + 1;
        drafts.for_each(|draft| self.encode(draft));
        self.write_out()?;
        Ok(first)
    }

    /// Adds a record to what is written next.
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

    fn write_out(&mut self) -> io::Result<()> {
        self.storage.append(&self.buffer)?;
        self.segment_bytes += self.buffer.len() as u64;
        self.buffer.clear();
        self.sync_due.get_or_insert_with(|| Instant::now() + SYNC_DELAY_MAX);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.storage.sync()?;
        self.sync_due = None;
        Ok(())
    }
}

/// Makes what the writer's timer runs on.
pub(crate) fn clock() -> io::Result<Runtime> {
    runtime::Builder::new_current_thread().enable_time().build()
}
