//! A storage that fails, or takes its time: calls are refused, and nobody hears "durable" too early.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use super::sample::{completed, intent};
use crate::line::Draft;
use crate::scan::Head;
use crate::segment::Segment;
use crate::storage::Storage;
use crate::writer::{Start, Writer};
use crate::{AuditError, ControlEvent, Log, Text};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Create,
    Append,
    Sync,
}

/// Fails the `nth` operation of one sort, from 1, and counts how often each sort was asked for.
#[derive(Clone)]
struct Faulty {
    op: Op,
    nth: usize,
    counts: Arc<[AtomicUsize; 3]>,
}

impl Faulty {
    fn new(op: Op, nth: usize) -> Self {
        Self { op, nth, counts: Arc::default() }
    }

    fn count(&self, op: Op) -> usize {
        self.counts[op as usize].load(Ordering::SeqCst)
    }

    fn perform(&self, op: Op) -> io::Result<()> {
        let count = self.counts[op as usize].fetch_add(1, Ordering::SeqCst) + 1;
        if self.op == op && self.nth == count {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }
}

impl Storage for Faulty {
    fn create(&mut self, _: Segment) -> io::Result<()> {
        self.perform(Op::Create)
    }

    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        self.perform(Op::Append)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.perform(Op::Sync)
    }
}

fn start(storage: impl Storage, segment_bytes_max: u64) -> io::Result<Log> {
    let start = Start { head: Head::EMPTY, boot: 1, pending: 0, gaps: Vec::new(), segment_bytes_max };
    Log::spawn(Writer::start(storage, &start)?, 64)
}

fn event() -> ControlEvent {
    ControlEvent::RevocationsActivate { digest: Text::from("aa11"), entries: 0 }
}

#[tokio::test]
async fn the_first_error_ends_the_log_for_good() {
    for op in [Op::Append, Op::Sync] {
        // The first operation of each sort belongs to `log.open`.
        let storage = Faulty::new(op, 2);
        let log = start(storage.clone(), u64::MAX).unwrap();
        assert!(log.is_healthy());
        let refused = log.begin(intent()).await;
        assert!(matches!(refused, Err(AuditError::Write(_))), "{op:?}: {refused:?}");
        assert!(!log.is_healthy());
        assert!(matches!(log.begin(intent()).await, Err(AuditError::Stopped)));
        assert!(matches!(log.note(event()).await, Err(AuditError::Stopped)));
        assert!(matches!(log.close().await, Err(AuditError::Stopped)));
        // Not even `log.close`: a second sync could succeed without the bytes of the first.
        assert_eq!(storage.count(op), 2);
        assert!(storage.count(Op::Sync) <= 2);
    }
}

#[tokio::test]
async fn a_result_that_is_not_written_is_an_error() {
    let log = start(Faulty::new(Op::Sync, 3), u64::MAX).unwrap();
    let pending = log.begin(intent()).await.unwrap();
    let other = log.begin(intent());
    let (finished, refused) = tokio::join!(pending.finish(completed()), other);
    assert!(matches!(finished, Err(AuditError::Write(_))));
    assert!(refused.is_err());
    assert!(!log.is_healthy());
}

#[tokio::test]
async fn a_file_that_cannot_be_created_refuses_the_call() {
    let log = start(Faulty::new(Op::Create, 2), 1).unwrap();
    assert!(matches!(log.begin(intent()).await, Err(AuditError::Write(_))));
    assert!(!log.is_healthy());
}

#[tokio::test]
async fn a_log_whose_first_record_fails_does_not_open() {
    for op in [Op::Create, Op::Append, Op::Sync] {
        assert!(start(Faulty::new(op, 1), u64::MAX).is_err(), "{op:?}");
    }
}

/// Says when a sync begins, and lets it end only when told so.
struct Gated {
    began: tokio::sync::mpsc::Sender<()>,
    release: mpsc::Receiver<()>,
}

impl Storage for Gated {
    fn create(&mut self, _: Segment) -> io::Result<()> {
        Ok(())
    }

    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.began.blocking_send(()).map_err(io::Error::other)?;
        self.release.recv().map_err(io::Error::other)
    }
}

#[tokio::test]
async fn nobody_hears_of_a_record_before_its_sync_and_waiting_records_share_the_next() {
    let (began, mut syncs) = tokio::sync::mpsc::channel(8);
    let (open, release) = mpsc::channel();
    open.send(()).unwrap();
    // The first sync blocks this test's own thread if it is not released beforehand.
    let storage = Gated { began, release };
    let log = tokio::task::spawn_blocking(move || start(storage, u64::MAX)).await.unwrap().unwrap();
    syncs.recv().await.unwrap();

    let spawn_note = || {
        let log = log.clone();
        tokio::spawn(async move { log.note(event()).await })
    };
    let first = spawn_note();
    syncs.recv().await.unwrap();
    // One sync is under way. Everything noted now has to wait for the next.
    let rest: Vec<_> = (0..20).map(|_| spawn_note()).collect();
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(!first.is_finished());
    open.send(()).unwrap();
    assert_eq!(first.await.unwrap().unwrap().seq, 2);
    syncs.recv().await.unwrap();
    assert!(rest.iter().all(|note| !note.is_finished()));
    open.send(()).unwrap();
    let mut seqs = Vec::new();
    for note in rest {
        seqs.push(note.await.unwrap().unwrap().seq);
    }
    seqs.sort_unstable();
    assert_eq!(seqs, (3..23).collect::<Vec<_>>());
    assert!(syncs.try_recv().is_err(), "twenty records took more than one sync");
}

#[test]
fn a_draft_without_members_is_still_one_object() {
    let mut line = Vec::new();
    Draft::close().write(7, 3, &mut line);
    let record: serde_json::Value = serde_json::from_slice(&line).unwrap();
    assert_eq!(record["seq"], 7);
    assert_eq!(record["type"], "log.close");
}
