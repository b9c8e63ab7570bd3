//! What opening a log makes of every state that a crash can leave.

use std::fs;
use std::path::Path;

use tempfile::tempdir;

use super::sample::{completed, crash_image, intent, open, records, run};
use crate::segment::Segment;
use crate::verify::{Completeness, Integrity, Missing, verify};
use crate::{Log, OpenError, Options, Previous, TornTail};

const FIRST: Segment = Segment { boot: 1, index: 1 };
const SECOND: Segment = Segment { boot: 2, index: 1 };

/// The first segment of a run that was killed with one call in progress and one done.
async fn killed_run() -> Vec<u8> {
    let dir = tempdir().unwrap();
    let (log, _) = open(dir.path());
    let lost = log.begin(intent()).await.unwrap();
    log.begin(intent()).await.unwrap().finish(completed()).await.unwrap();
    let bytes = fs::read(FIRST.path(dir.path())).unwrap();
    drop(lost);
    log.close().await.unwrap();
    bytes
}

/// Opens and closes the log, and returns what is missing from it then.
async fn reopen(dir: &Path) -> Vec<Missing> {
    let (log, _) = open(dir);
    log.close().await.unwrap();
    let report = verify(dir).unwrap();
    assert!(matches!(report.integrity, Integrity::Valid { .. }), "{report}");
    match report.completeness {
        Completeness::Gaps(missing) => missing,
        Completeness::Complete => Vec::new(),
        Completeness::NotAssessed => unreachable!("a valid log is assessed"),
    }
}

#[tokio::test]
async fn a_crash_after_any_byte_is_recovered_and_reported() {
    let bytes = killed_run().await;
    // Every length near a line's end, where the cases differ, and a spread of those inside.
    let near_line_end =
        |cut: usize| bytes[cut.saturating_sub(3)..(cut + 3).min(bytes.len())].contains(&b'\n');
    let cuts = (0..=bytes.len()).filter(|&cut| near_line_end(cut) || cut % 97 == 0);
    for cut in cuts {
        let dir = tempdir().unwrap();
        fs::write(FIRST.path(dir.path()), &bytes[..cut]).unwrap();
        let whole = bytes[..cut].iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        let lines = bytes[..whole].split(|&byte| byte == b'\n').count() as u64 - 1;
        // Lines: log.open, intent, intent, result.
        let orphans = [0, 0, 1, 2, 1][lines as usize];

        let missing = reopen(dir.path()).await;

        let mut expected = Vec::new();
        if orphans > 0 {
            expected.push(Missing::Results { boot: 1, count: orphans, first_seq: 2 });
        }
        if lines > 0 {
            expected.push(Missing::Close { boot: 1 });
        }
        if whole < cut {
            let file = format!("{FIRST}.torn");
            assert_eq!(fs::read(dir.path().join(&file)).unwrap(), &bytes[whole..cut], "cut at {cut}");
            expected.push(Missing::TornTail { file, bytes: (cut - whole) as u64, after_seq: lines });
        }
        assert_eq!(missing, expected, "cut at {cut}");
        assert_eq!(fs::read(FIRST.path(dir.path())).unwrap(), &bytes[..whole], "cut at {cut}");
        let gap = records(dir.path()).into_iter().find(|record| record["gap"]["kind"] == "orphan_intents");
        assert_eq!(gap.map_or(0, |gap| gap["gap"]["count"].as_u64().unwrap()), orphans, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_crash_during_recovery_loses_no_report() {
    let mut torn = killed_run().await;
    torn.truncate(torn.len() - 10);
    let image = tempdir().unwrap();
    fs::write(FIRST.path(image.path()), &torn).unwrap();
    let (log, recovery) = open(image.path());
    let expected = (recovery.torn_tails, recovery.orphan_intents);
    assert_eq!((expected.0.len(), expected.1), (1, 2));
    let second = fs::read(SECOND.path(image.path())).unwrap();
    drop(log);

    let line_ends = second.iter().enumerate().filter(|&(_, &byte)| byte == b'\n').map(|(at, _)| at + 1);
    let line_ends: Vec<_> = line_ends.collect();
    assert_eq!(line_ends.len(), 3, "log.open and two gaps");
    let whole = [0].into_iter().chain(line_ends.clone());
    let partial = line_ends.iter().map(|end| end - 1);
    for cut in whole.chain(partial) {
        // The first segment as recovery left it, its tail aside, and the second not yet whole.
        let dir = tempdir().unwrap();
        crash_image(image.path(), dir.path());
        let aside = format!("{FIRST}.torn");
        let torn_file = image.path().join(&aside);
        fs::copy(torn_file, dir.path().join(format!("{aside}.unreported"))).unwrap();
        fs::write(SECOND.path(dir.path()), &second[..cut]).unwrap();

        let (log, recovery) = open(dir.path());
        log.close().await.unwrap();

        let first_torn = recovery.torn_tails.iter().find(|torn| torn.file == aside);
        assert_eq!(first_torn, expected.0.first(), "cut at {cut}");
        let both_gaps_recorded = cut == line_ends[2];
        assert_eq!(recovery.orphan_intents, if both_gaps_recorded { 0 } else { 2 }, "cut at {cut}");
        assert!(dir.path().join(&aside).exists(), "cut at {cut}");
        let report = verify(dir.path()).unwrap();
        assert!(matches!(report.integrity, Integrity::Valid { .. }), "cut at {cut}: {report}");
    }
}

#[tokio::test]
async fn an_orderly_end_is_told_from_a_kill() {
    let dir = tempdir().unwrap();
    let (log, recovery) = open(dir.path());
    assert_eq!((recovery.boot, recovery.previous, recovery.last_seq), (1, Previous::None, 0));
    log.close().await.unwrap();
    let (log, recovery) = open(dir.path());
    assert_eq!((recovery.boot, recovery.previous, recovery.last_seq), (2, Previous::Clean, 2));

    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());
    log.close().await.unwrap();
    let (log, recovery) = open(image.path());
    assert_eq!((recovery.boot, recovery.previous, recovery.last_seq), (3, Previous::Unclean, 3));
    assert_eq!((recovery.orphan_intents, recovery.torn_tails), (0, Vec::<TornTail>::new()));
    log.close().await.unwrap();
}

#[tokio::test]
async fn calls_lost_several_files_ago_are_still_counted() {
    let dir = tempdir().unwrap();
    let options = Options { segment_bytes_max: 1, ..Options::STANDARD };
    let (log, _) = Log::open(dir.path(), options).unwrap();
    let lost = log.begin(intent()).await.unwrap();
    for _ in 0..3 {
        log.begin(intent()).await.unwrap().finish(completed()).await.unwrap();
    }
    let image = tempdir().unwrap();
    crash_image(dir.path(), image.path());
    drop(lost);
    log.close().await.unwrap();

    let (log, recovery) = open(image.path());
    assert_eq!(recovery.orphan_intents, 1);
    log.close().await.unwrap();
    // Reported once: the next run has nothing to add.
    let (log, recovery) = open(image.path());
    assert_eq!(recovery.orphan_intents, 0);
    log.close().await.unwrap();
}

#[tokio::test]
async fn a_damaged_log_does_not_open() {
    let dir = tempdir().unwrap();
    run(dir.path(), Options::STANDARD, 2).await;
    let path = FIRST.path(dir.path());
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = Log::open(dir.path(), Options::STANDARD).unwrap_err();
    assert!(matches!(&error, OpenError::Damaged { line: 3..=4, .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), bytes, "the evidence is as it was");
}
