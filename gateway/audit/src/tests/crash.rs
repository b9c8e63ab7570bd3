//! A process that is killed while it writes: what it was told is durable must be there, and what is lost
//! must be reported.
//!
//! The test starts itself again as the process to be killed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::tempdir;
use tokio::task::JoinSet;

use super::sample::{completed, intent, open, records};
use crate::verify::{Completeness, Integrity, Missing, verify};
use crate::{Log, Options, Previous, Receipt};

const CHILD: &str = "tests::crash::the_process_that_is_killed";
const DIR_VARIABLE: &str = "AUDIT_CRASH_DIR";
const CALLS: usize = 1000;
const WORKERS: usize = 25;
/// First word of the lines that are ours; the test harness writes to the same pipe.
const DURABLE: &str = "durable";

/// Acknowledged records after which the process is killed, one round each, over one directory.
const KILL_AFTER: [usize; 8] = [1, 2, 17, 100, 333, 901, 1500, 1998];

#[test]
fn a_killed_process_loses_nothing_that_was_durable_and_hides_no_loss() {
    let dir = tempdir().unwrap();
    let mut lost = 0;
    for kill_after in KILL_AFTER {
        let acknowledged = run_until_killed(dir.path(), kill_after);
        assert!(acknowledged.len() >= kill_after, "the process ended before it was killed");
        lost += check_after_kill(dir.path(), &acknowledged);
    }
    assert!(lost > 0, "no kill met a call in progress, so the loss of one was not tested");
}

#[expect(
    clippy::disallowed_methods,
    reason = "the harness takes no arguments for a test, and this is no setting"
)]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_process_that_is_killed() {
    // Started by the harness like any test, it has nothing to do.
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else { return };
    let options = Options { segment_bytes_max: 64 << 10, ..Options::STANDARD };
    let (log, _) = Log::open(&PathBuf::from(dir), options).unwrap();
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let log = log.clone();
        workers.spawn(async move {
            for _ in 0..CALLS / WORKERS {
                let pending = log.begin(intent()).await.unwrap();
                say_durable(pending.receipt());
                say_durable(pending.finish(completed()).await.unwrap());
            }
        });
    }
    workers.join_all().await;
    // Never closed: every round ends in a kill, the last ones perhaps after the work.
    std::future::pending::<()>().await;
}

fn say_durable(receipt: Receipt) {
    // One write, so that lines of two workers do not mix; and past the harness, which captures `println`.
    let line = format!("{DURABLE} {} {}\n", receipt.seq, receipt.id);
    std::io::stdout().write_all(line.as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}

/// Returns the sequence number and id of every record that the process said to be durable.
fn run_until_killed(dir: &Path, kill_after: usize) -> Vec<(usize, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", CHILD, "--nocapture", "--test-threads=1"])
        .env(DIR_VARIABLE, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut acknowledged = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        // A line that the kill cut short names no record.
        let mut words = line.split(' ');
        let (Some(DURABLE), Some(seq), Some(id)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if id.len() == 36 {
            acknowledged.push((seq.parse().unwrap(), id.to_owned()));
        }
        if acknowledged.len() == kill_after {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    acknowledged
}

/// Returns how many calls the kill left without a result.
fn check_after_kill(dir: &Path, acknowledged: &[(usize, String)]) -> u64 {
    let (log, recovery) = open(dir);
    assert_eq!(recovery.previous, Previous::Unclean);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(log.close()).unwrap();

    let report = verify(dir).unwrap();
    assert!(matches!(report.integrity, Integrity::Valid { .. }), "{report}");
    let Completeness::Gaps(missing) = &report.completeness else {
        panic!("the kill is not reported: {report}")
    };
    let killed = recovery.boot - 1;
    assert!(missing.contains(&Missing::Close { boot: killed }), "{report}");
    let lost = missing.iter().find_map(|missing| match missing {
        Missing::Results { boot, count, .. } if *boot == killed => Some(*count),
        _ => None,
    });
    assert_eq!(lost.unwrap_or(0), recovery.orphan_intents, "{report}");
    assert!(recovery.orphan_intents <= WORKERS as u64);

    let records = records(dir);
    for (seq, id) in acknowledged {
        assert_eq!(records[seq - 1]["id"], **id, "record {seq} was durable");
    }
    recovery.orphan_intents
}
