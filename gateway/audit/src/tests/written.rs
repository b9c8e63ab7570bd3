//! Records that are written at once and synced a little later: what the end of a process cannot undo, and when the disk
//! has them.

use std::io;
use std::sync::{Arc, Mutex, mpsc};

use tempfile::tempdir;

use super::sample::{closed, crash_image, kinds, open, opened, records};
use crate::scan::Head;
use crate::segment::Segment;
use crate::storage::Storage;
use crate::verify::{Completeness, verify};
use crate::writer::{Start, Writer};
use crate::{AuditError, ControlEvent, Log, Options};

fn decision() -> ControlEvent {
    ControlEvent::EgressDecision(opened("b-1"))
}

fn close() -> ControlEvent {
    ControlEvent::EgressClose(closed("b-1"))
}

#[tokio::test]
async fn a_written_record_outlives_the_process_that_wrote_it() {
    let dir = tempdir().unwrap();
    let (log, _) = open(dir.path());
    log.write(&decision()).unwrap();
    // What a kill at this moment leaves.
    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());
    assert_eq!(kinds(&records(image.path())), ["log.open", "egress.decision"]);
    log.post(&close()).unwrap();
    log.close().await.unwrap();
    assert_eq!(kinds(&records(dir.path())), ["log.open", "egress.decision", "egress.close", "log.close"]);
    assert_eq!(verify(dir.path()).unwrap().completeness, Completeness::Complete);
}

#[tokio::test]
async fn a_full_queue_refuses_what_would_only_be_written() {
    let dir = tempdir().unwrap();
    let (log, _) = Log::open(dir.path(), Options { queue_records_max: 2, ..Options::STANDARD }).unwrap();
    let pending = log.begin(super::sample::intent()).await.unwrap();
    let other = log.begin(super::sample::intent()).await;
    assert!(matches!(other, Err(AuditError::QueueFull)), "{other:?}");
    log.write(&decision()).unwrap();
    drop(pending);
    log.close().await.unwrap();
    assert!(matches!(log.write(&decision()), Err(AuditError::Closed)));
    assert!(matches!(log.post(&close()), Err(AuditError::Closed)));
}

/// Notes what it is asked for, and waits in each sync until it is let go.
struct Slow {
    done: Arc<Mutex<Vec<&'static str>>>,
    syncs: mpsc::Sender<()>,
    release: mpsc::Receiver<()>,
}

impl Slow {
    fn did(&self, what: &'static str) {
        self.done.lock().unwrap().push(what);
    }
}

impl Storage for Slow {
    fn create(&mut self, _: Segment) -> io::Result<()> {
        self.did("create");
        Ok(())
    }

    fn append(&mut self, _: &[u8]) -> io::Result<()> {
        self.did("append");
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        self.did("sync");
        self.syncs.send(()).map_err(io::Error::other)?;
        self.release.recv().map_err(io::Error::other)
    }
}

struct Seen {
    log: Log,
    done: Arc<Mutex<Vec<&'static str>>>,
    /// Hears of each sync as it begins.
    syncs: mpsc::Receiver<()>,
    /// Lets one sync end.
    release: mpsc::Sender<()>,
}

fn slow(segment_bytes_max: u64) -> Seen {
    let (began, syncs) = mpsc::channel();
    let (release, gate) = mpsc::channel();
    let done = Arc::default();
    let storage = Slow { done: Arc::clone(&done), syncs: began, release: gate };
    let start = Start { head: Head::EMPTY, boot: 1, pending: 0, gaps: Vec::new(), segment_bytes_max };
    // That of `log.open`.
    release.send(()).unwrap();
    let log = Log::spawn(Writer::start(storage, &start).unwrap(), 64).unwrap();
    syncs.recv().unwrap();
    Seen { log, done, syncs, release }
}

#[test]
fn whoever_writes_does_not_wait_for_a_sync_that_comes_by_itself() {
    let Seen { log, done, syncs, release } = slow(u64::MAX);
    // No sync is let go, so this would not return if it waited for one.
    log.write(&decision()).unwrap();
    log.post(&close()).unwrap();
    // Nothing else happens, and yet the disk gets them.
    syncs.recv().unwrap();
    let done = done.lock().unwrap().clone();
    assert_eq!(done[..3], ["create", "append", "sync"]);
    assert_eq!(done.last(), Some(&"sync"));
    assert!((1..=2).contains(&done.iter().skip(3).filter(|&&what| what == "append").count()), "{done:?}");
    release.send(()).unwrap();
}

#[test]
fn a_file_is_synced_before_the_next_one_begins() {
    let Seen { log, done, syncs, release } = slow(1);
    // Each in a file of its own, because one byte fills a file.
    release.send(()).unwrap();
    log.write(&decision()).unwrap();
    release.send(()).unwrap();
    log.write(&close()).unwrap();
    let done = done.lock().unwrap().clone();
    let second = done.iter().rposition(|&what| what == "create").unwrap();
    assert_eq!(done.iter().filter(|&&what| what == "create").count(), 3, "{done:?}");
    assert_eq!(done[second - 2..second + 2], ["append", "sync", "create", "append"], "{done:?}");
    drop((syncs, release));
}

#[test]
fn a_sync_that_fails_ends_the_log_for_what_comes_after() {
    let Seen { log, syncs, release, .. } = slow(u64::MAX);
    log.write(&decision()).unwrap();
    syncs.recv().unwrap();
    // The sync fails.
    drop(release);
    while log.is_healthy() {
        std::thread::yield_now();
    }
    assert!(matches!(log.write(&close()), Err(AuditError::Stopped)));
}
