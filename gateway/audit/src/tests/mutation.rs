//! Every change to a small log must be noticed, and a log in order must pass.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use tempfile::{TempDir, tempdir};

use super::sample::{completed, intent, open, run};
use crate::verify::{CANNOT_RUN, Completeness, Integrity, VerifyError, verify};
use crate::{Fault, Kind, Options, segment};

const VALID: u8 = 0;
const GAPS: u8 = 10;
const INVALID: u8 = 40;

/// A log of two runs, the first in two files.
async fn small_log() -> (TempDir, Vec<PathBuf>) {
    let dir = tempdir().unwrap();
    run(dir.path(), Options { segment_bytes_max: 1000, ..Options::STANDARD }, 1).await;
    run(dir.path(), Options::STANDARD, 1).await;
    let files = segment::list(dir.path()).unwrap().into_iter().map(|segment| segment.path(dir.path()));
    let files: Vec<_> = files.collect();
    assert_eq!(files.len(), 3);
    (dir, files)
}

fn exit(dir: &Path) -> u8 {
    verify(dir).map_or(CANNOT_RUN, |report| report.exit_code())
}

/// Runs `check` with the file's contents replaced, and puts them back.
fn with_contents(path: &Path, contents: &[u8], check: impl FnOnce()) {
    let original = fs::read(path).unwrap();
    assert_ne!(original, contents, "the mutation changes nothing");
    fs::write(path, contents).unwrap();
    check();
    fs::write(path, original).unwrap();
}

fn lines(path: &Path) -> Vec<Vec<u8>> {
    fs::read(path).unwrap().split_inclusive(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect()
}

#[tokio::test]
async fn a_log_in_order_is_valid_and_complete() {
    let (dir, _) = small_log().await;
    let report = verify(dir.path()).unwrap();
    assert_eq!(report.integrity, Integrity::Valid { records: 9 });
    assert_eq!(report.completeness, Completeness::Complete);
    assert_eq!(report.records[&Kind::Intent], 2);
    assert_eq!(report.records[&Kind::LogOpen], 3);
    assert!(!report.in_use);
    assert_eq!(exit(dir.path()), VALID);
    let text = report.to_string();
    assert!(text.starts_with("integrity:    VALID, 9 records\ncompleteness: COMPLETE"), "{text}");
}

#[tokio::test]
async fn a_flip_of_any_byte_is_found() {
    let (dir, files) = small_log().await;
    for (number, path) in files.iter().enumerate() {
        let original = fs::read(path).unwrap();
        // In place: rewriting whole files thousands of times would keep the disk busy, not the verifier.
        let file = File::options().write(true).open(path).unwrap();
        let last_byte_of_log = |at| number == files.len() - 1 && at == original.len() - 1;
        for (at, &byte) in original.iter().enumerate() {
            for mask in [0x01, 0x20, 0x80] {
                file.write_all_at(&[byte ^ mask], at as u64).unwrap();
                // Without its last newline the log ends as after a crash.
                let expected = if last_byte_of_log(at) { GAPS } else { INVALID };
                assert_eq!(exit(dir.path()), expected, "{path:?}, byte {at}, mask {mask:#x}");
            }
            file.write_all_at(&[byte], at as u64).unwrap();
        }
    }
    assert_eq!(exit(dir.path()), VALID);
}

#[tokio::test]
async fn a_removed_repeated_or_moved_line_is_found() {
    let (dir, files) = small_log().await;
    for (number, path) in files.iter().enumerate() {
        let original = lines(path);
        let ends_log = |line: usize| number == files.len() - 1 && line == original.len() - 1;
        for line in 0..original.len() {
            let mut removed = original.clone();
            removed.remove(line);
            // Without its last line the log looks like that of a killed run.
            let expected = if ends_log(line) { GAPS } else { INVALID };
            with_contents(path, &removed.concat(), || assert_eq!(exit(dir.path()), expected));

            let mut repeated = original.clone();
            repeated.insert(line, original[line].clone());
            with_contents(path, &repeated.concat(), || assert_eq!(exit(dir.path()), INVALID));

            for other in 0..line {
                let mut swapped = original.clone();
                swapped.swap(line, other);
                with_contents(path, &swapped.concat(), || assert_eq!(exit(dir.path()), INVALID));
            }
        }
    }
}

#[tokio::test]
async fn a_log_cut_at_any_byte_is_never_in_order() {
    let (dir, files) = small_log().await;
    for (number, path) in files.iter().enumerate() {
        let original = fs::read(path).unwrap();
        let expected = if number == files.len() - 1 { GAPS } else { INVALID };
        // From 1: the last file cut to nothing is the log before its second run, which was in order.
        let file = File::options().write(true).open(path).unwrap();
        for length in (1..original.len()).rev() {
            file.set_len(length as u64).unwrap();
            assert_eq!(exit(dir.path()), expected, "{path:?}, {length} bytes");
        }
        fs::write(path, original).unwrap();
    }
}

#[tokio::test]
async fn a_missing_file_is_found() {
    let (dir, files) = small_log().await;
    for path in &files[..files.len() - 1] {
        let aside = dir.path().join("aside");
        fs::rename(path, &aside).unwrap();
        assert_eq!(exit(dir.path()), INVALID, "{path:?}");
        fs::rename(&aside, path).unwrap();
    }
}

#[tokio::test]
async fn files_that_changed_places_are_found() {
    let (dir, files) = small_log().await;
    let contents: Vec<_> = files.iter().map(|path| fs::read(path).unwrap()).collect();
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        fs::write(&files[a], &contents[b]).unwrap();
        fs::write(&files[b], &contents[a]).unwrap();
        assert_eq!(exit(dir.path()), INVALID);
        fs::write(&files[a], &contents[a]).unwrap();
        fs::write(&files[b], &contents[b]).unwrap();
    }
}

#[tokio::test]
async fn the_report_says_where_the_first_bad_line_is() {
    let (dir, files) = small_log().await;
    let mut lines = lines(&files[2]);
    lines.remove(1);
    fs::write(&files[2], lines.concat()).unwrap();
    let report = verify(dir.path()).unwrap();
    let file = files[2].file_name().unwrap().to_str().unwrap().to_owned();
    let expected = Integrity::Invalid { file, line: 2, last_valid_seq: 6, reason: Fault::Unchained };
    assert_eq!(report.integrity, expected);
    assert_eq!(report.completeness, Completeness::NotAssessed);
}

#[tokio::test]
async fn a_line_without_end_does_not_fill_the_memory() {
    let (dir, files) = small_log().await;
    fs::write(&files[2], vec![b'x'; 1 << 20]).unwrap();
    let report = verify(dir.path()).unwrap();
    assert!(
        matches!(report.integrity, Integrity::Invalid { line: 1, reason: Fault::TooLong { .. }, .. }),
        "{report}"
    );
}

#[test]
fn an_absent_log_is_not_a_clean_one() {
    let dir = tempdir().unwrap();
    assert!(matches!(verify(dir.path()), Err(VerifyError::NoRecords(_))));
    fs::write(dir.path().join("audit-00000001-00000001.jsonl"), "").unwrap();
    assert!(matches!(verify(dir.path()), Err(VerifyError::NoRecords(_))));
    assert!(matches!(verify(&dir.path().join("absent")), Err(VerifyError::Io { .. })));
    assert_eq!(exit(dir.path()), CANNOT_RUN);
}

#[tokio::test]
async fn a_call_in_progress_is_missing_only_once_its_run_is_over() {
    let dir = tempdir().unwrap();
    let (log, _) = open(dir.path());
    let pending = log.begin(intent()).await.unwrap();
    let report = verify(dir.path()).unwrap();
    assert!(report.in_use);
    assert_eq!(report.completeness, Completeness::Complete);

    let image = tempdir().unwrap();
    super::sample::crash_image(dir.path(), image.path());
    assert_eq!(exit(image.path()), GAPS);

    pending.finish(completed()).await.unwrap();
    log.close().await.unwrap();
    assert_eq!(exit(dir.path()), VALID);
}
