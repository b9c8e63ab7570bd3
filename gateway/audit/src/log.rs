//! The log as the rest of the gateway sees it: open, begin, finish, note, close.
//!
//! An intent takes two places in the queue at once: one for itself, one kept for its result. So a result
//! never finds the queue full, whether it is sent by [`Pending::finish`] or by a destructor, and each
//! intent that is written gets exactly one result. When no two places are free the call is refused, at once:
//! an overloaded disk sheds load rather than building a line of callers.
//!
//! Every wait here is for one group commit. It has no time limit of its own; dropping the future is safe at
//! any point, so callers bound it with the limit of their request.

use std::fs::TryLockError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc as threads};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, OwnedPermit};
use tokio::sync::oneshot;
use uuid::Uuid;

use crate::fault::Fault;
use crate::line::Draft;
use crate::record::{Carried, ControlEvent, Ending, Intent, Outcome, Text, Tokens};
use crate::recovery::{self, RecoverError, Recovery};
use crate::storage::{Directory, Storage};
use crate::writer::{self, Job, Start, Writer};

/// How long a thread waits for a record to be written. Far longer than a disk takes that works: what waits is a dial,
/// which is refused then.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(1);

/// Limits of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Size in bytes from which a new segment file is begun.
    pub segment_bytes_max: u64,
    /// Records that may be queued or promised (one for each call in progress) at a time.
    pub queue_records_max: usize,
}

impl Options {
    /// 64 MiB a file, which a verifier reads in about a second; and 16,384 records, far more calls in
    /// progress than one gateway serves, which at about 1 KiB each is 16 MiB of queue when the disk stalls.
    pub const STANDARD: Self = Self { segment_bytes_max: 64 << 20, queue_records_max: 16_384 };
}

/// Identity of a record: a version 7 UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RecordId(pub(crate) Uuid);

impl std::fmt::Display for RecordId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// Proof that a record is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Identity of the record.
    pub id: RecordId,
    /// Its place in the log, without gaps from 1.
    pub seq: u64,
}

/// Why a record is not in the log. A call whose intent fails so must be refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AuditError {
    /// More calls are in progress, or waiting for the disk, than the queue holds.
    #[error("audit queue is full")]
    QueueFull,
    /// The log was closed, or its thread ended.
    #[error("audit log is closed")]
    Closed,
    /// The record was being written when the storage failed; whether it is on the disk is not known.
    #[error("audit record could not be written")]
    Write(#[source] Arc<io::Error>),
    /// The record was not written in time; it may be written later.
    #[error("audit record was not written within {0:?}")]
    Late(Duration),
    /// An earlier write failed; the log takes nothing more until the process starts anew.
    #[error("audit log stopped after an earlier write error")]
    Stopped,
}

/// Why a log cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process writes this directory.
    #[error("{}: another process is writing this audit log", .0.display())]
    Locked(PathBuf),
    /// The newest records do not verify.
    #[error(
        "{}: audit log is damaged at {file}, line {line}: {fault}; keep this directory as evidence and \
         start with an empty one", dir.display()
    )]
    Damaged {
        /// The log's directory.
        dir: PathBuf,
        /// Name of the segment file.
        file: String,
        /// Line in it, from 1.
        line: u64,
        /// What is wrong with the line.
        fault: Fault,
    },
    /// The directory or a file in it could not be read or written, or the writer thread not started.
    #[error("{}: cannot open the audit log", dir.display())]
    Io {
        /// The log's directory.
        dir: PathBuf,
        /// What failed.
        source: io::Error,
    },
}

/// A handle on an open log; clones share it.
///
/// When the last handle and the last [`Pending`] are gone, the log closes in order, but nobody can wait for
/// that: [`Log::close`] is the way to end.
#[derive(Debug, Clone)]
pub struct Log {
    queue: mpsc::Sender<Job>,
    healthy: Arc<AtomicBool>,
}

impl Log {
    /// Opens the log in `dir`, creating it if need be, and recovers what the last run left.
    ///
    /// Blocks on the disk: it reads the last segment file and writes the first records of this run.
    ///
    /// # Errors
    /// [`OpenError::Locked`] if another process writes there, [`OpenError::Damaged`] if the last segment does
    /// not verify, [`OpenError::Io`] for everything else.
    ///
    /// # Panics
    /// Panics if `options.queue_records_max` is less than 2: an intent needs two places.
    pub fn open(dir: &Path, options: Options) -> Result<(Self, Recovery), OpenError> {
        let io_error = |source| OpenError::Io { dir: dir.to_owned(), source };
        let directory = Directory::lock(dir).map_err(|error| match error {
            TryLockError::WouldBlock => OpenError::Locked(dir.to_owned()),
            TryLockError::Error(source) => io_error(source),
        })?;
        let recovered = recovery::recover(dir).map_err(|error| match error {
            RecoverError::Io(source) => io_error(source),
            RecoverError::Damaged { file, line, fault } => {
                OpenError::Damaged { dir: dir.to_owned(), file, line, fault }
            }
        })?;
        let start = Start {
            head: recovered.head,
            boot: recovered.report.boot,
            pending: recovered.report.orphan_intents,
            gaps: recovered.gaps().iter().map(Draft::gap).collect(),
            segment_bytes_max: options.segment_bytes_max,
        };
        let writer = Writer::start(directory, &start).map_err(io_error)?;
        recovery::settle(dir, &recovered.report.torn_tails).map_err(io_error)?;
        let log = Self::spawn(writer, options.queue_records_max).map_err(io_error)?;
        Ok((log, recovered.report))
    }

    /// Starts the writer's thread.
    pub(crate) fn spawn<S: Storage>(writer: Writer<S>, queue_records_max: usize) -> io::Result<Self> {
        assert!(queue_records_max >= 2, "an intent needs two places in the queue");
        let (queue, jobs) = mpsc::channel(queue_records_max);
        let (healthy, clock) = (writer.healthy(), writer::clock()?);
        thread::Builder::new().name("audit".to_owned()).spawn(move || writer.run(jobs, &clock))?;
        Ok(Self { queue, healthy })
    }

    /// Records that a call is about to be sent; returns when the record is durable.
    ///
    /// Dropping the future leaves an intent with an `aborted` result, or nothing.
    ///
    /// # Errors
    /// Any error means that the call must be refused.
    pub async fn begin(&self, intent: Intent) -> Result<Pending, AuditError> {
        let place = self.reserve()?;
        let intent_place = self.reserve()?;
        let draft = Draft::intent(&intent);
        let promise = Promise {
            place: Some(place),
            intent: draft.id,
            workflow: intent.workflow,
            policy: intent.policy.digest,
            started: Instant::now(),
        };
        let receipt = append(intent_place, draft).await?;
        Ok(Pending { promise, receipt })
    }

    /// Records an event that is no call; returns when it is durable.
    ///
    /// # Errors
    /// Returns why the record is not, or perhaps not, in the log.
    pub async fn note(&self, event: ControlEvent) -> Result<Receipt, AuditError> {
        append(self.reserve()?, Draft::event(&event)).await
    }

    /// Records an event; returns when it is written, so that no end of this process can undo it.
    ///
    /// It is synced a moment later, 50 ms at most: until then a power cut can still undo it. Blocks the thread for
    /// some microseconds, while a sync is running for as long as that takes, and never longer than a second.
    ///
    /// # Errors
    /// Returns why the record is not, or perhaps not, in the log.
    pub fn write(&self, event: &ControlEvent) -> Result<(), AuditError> {
        let (written, wait) = threads::sync_channel(1);
        self.reserve()?.send(Job::Write { draft: Draft::event(event), written: Some(written) });
        wait.recv_timeout(WRITE_WAIT_MAX).unwrap_or_else(|error| match error {
            threads::RecvTimeoutError::Timeout => Err(AuditError::Late(WRITE_WAIT_MAX)),
            threads::RecvTimeoutError::Disconnected => Err(AuditError::Closed),
        })
    }

    /// Records an event in its turn, and waits for nothing: for destructors.
    ///
    /// # Errors
    /// Returns why the record cannot be queued. What befalls it later shows in [`Log::is_healthy`] alone.
    pub fn post(&self, event: &ControlEvent) -> Result<(), AuditError> {
        self.reserve()?.send(Job::Write { draft: Draft::event(event), written: None });
        Ok(())
    }

    /// Whether records can still be written. Once false, it stays so.
    pub fn is_healthy(&self) -> bool {
        self.healthy.load(Ordering::Relaxed) && !self.queue.is_closed()
    }

    /// Ends the log: takes no more calls, waits for the result of each call in progress, writes `log.close`.
    ///
    /// The wait lasts as long as the longest call; the caller bounds it. A process that ends without this is
    /// reported at the next start.
    ///
    /// # Errors
    /// Returns why the run does not end in `log.close`.
    pub async fn close(&self) -> Result<(), AuditError> {
        let (ack, closed) = oneshot::channel();
        self.queue.send(Job::Close { ack }).await.map_err(|_| AuditError::Closed)?;
        closed.await.unwrap_or(Err(AuditError::Closed))
    }

    fn reserve(&self) -> Result<OwnedPermit<Job>, AuditError> {
        self.queue.clone().try_reserve_owned().map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => AuditError::QueueFull,
            mpsc::error::TrySendError::Closed(_) => AuditError::Closed,
        })
    }
}

/// Queues the record before the first await, so that a dropped future cannot lose it.
async fn append(place: OwnedPermit<Job>, draft: Draft) -> Result<Receipt, AuditError> {
    let (ack, written) = oneshot::channel();
    place.send(Job::Append { draft, ack: Some(ack) });
    written.await.unwrap_or(Err(AuditError::Closed))
}

/// A call in progress: its intent is durable, its result is still to come.
///
/// Dropping it records an `aborted` result without measurements.
#[derive(Debug)]
#[must_use = "dropping it records the call as aborted"]
pub struct Pending {
    promise: Promise,
    receipt: Receipt,
}

impl Pending {
    /// The intent's receipt.
    pub fn receipt(&self) -> Receipt {
        self.receipt
    }

    /// Records how the call ended; returns when the record is durable.
    ///
    /// The record is queued when the future is first polled, and written even if it is dropped then.
    ///
    /// # Errors
    /// Returns why the record is not, or perhaps not, in the log; never [`AuditError::QueueFull`].
    pub async fn finish(mut self, outcome: Outcome) -> Result<Receipt, AuditError> {
        let (place, draft) = self.promise.redeem(&outcome);
        append(place, draft).await
    }

    /// Records that the call was dropped, with what had been measured, and does not wait.
    ///
    /// For destructors, which cannot wait. A dropped call never counts as completed: that ending becomes
    /// [`Ending::Aborted`].
    pub fn abandon(mut self, outcome: Outcome) {
        let ending = match outcome.ending {
            Ending::Completed => Ending::Aborted,
            ending => ending,
        };
        self.promise.abort(&Outcome { ending, ..outcome });
    }
}

/// The place in the queue that a result will take.
#[derive(Debug)]
struct Promise {
    /// Present until the result is queued.
    place: Option<OwnedPermit<Job>>,
    intent: Uuid,
    workflow: Text,
    /// Digest of the policy that admitted the call: the result says it again, whatever is in force by then.
    policy: Text,
    started: Instant,
}

impl Promise {
    fn redeem(&mut self, outcome: &Outcome) -> (OwnedPermit<Job>, Draft) {
        let place = self.place.take().expect("whoever redeems a promise consumes it");
        (place, Draft::result(self.intent, (&self.workflow, &self.policy), outcome))
    }

    fn abort(&mut self, outcome: &Outcome) {
        let (place, draft) = self.redeem(outcome);
        place.send(Job::Append { draft, ack: None });
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        if self.place.is_none() {
            return;
        }
        let dur_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.abort(&Outcome {
            ending: Ending::Aborted,
            status: None,
            finish: None,
            upstream_request_id: None,
            tokens: Tokens::default(),
            carried: Carried::default(),
            ttft_ms: None,
            dur_ms,
            route: None,
        });
    }
}
