//! Cuts: a download goes on behind what it has, with the same version of the file, or begins anew.

use std::path::Path;

use hub::HubError;

use crate::scripted::{Answer, Hub, Request, Stored, large, noise, small};

const NAME: &str = "model.safetensors";
const SIZE: usize = 600_000;

/// Breaks the first `cuts` answers of the store after `each` bytes.
fn cut(hub: &Hub, file: &Stored, cuts: usize, each: usize) {
    let (file, mut left) = (file.clone(), cuts);
    hub.script(move |request| {
        let is_meant = request.to == "store" && left > 0;
        is_meant.then(|| {
            left -= 1;
            file.answer(request).cut_after(each)
        })
    });
}

/// The ranges that were asked of the store since the last time.
fn ranges(hub: &Hub) -> Vec<Option<String>> {
    let range =
        |request: Request| (request.to == "store").then(|| request.header("range").map(str::to_owned));
    hub.requests().into_iter().filter_map(range).collect()
}

fn is_whole(folder: &Path, file: &Stored) -> bool {
    let names: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names == [NAME] && std::fs::read(folder.join(NAME)).unwrap() == file.bytes
}

/// Leaves a part of `keep` bytes behind, as a process does that is killed.
fn leave_part(hub: &Hub, file: &Stored, folder: &Path, keep: usize) {
    let (file, mut count) = (file.clone(), keep);
    hub.script(move |request| {
        (request.to == "store").then(|| file.answer(request).cut_after(std::mem::take(&mut count)))
    });
    let error = hub.fetch(NAME, folder).unwrap_err();
    assert!(matches!(error, HubError::Cut { .. }), "{error}");
    assert_eq!(std::fs::metadata(folder.join(format!("{NAME}.part"))).unwrap().len(), keep as u64);
    assert!(!folder.join(NAME).exists());
    hub.behave();
    hub.requests();
    hub.pauses();
}

#[test]
fn a_cut_download_goes_on_where_it_was_cut() {
    let file = large(NAME, &noise(SIZE));
    for (cuts, each) in [(1, 0), (1, 1), (1, SIZE - 1), (2, 100_000), (4, 149_999)] {
        let hub = Hub::start([file.clone()]);
        let folder = tempfile::tempdir().unwrap();
        cut(&hub, &file, cuts, each);
        assert_eq!(hub.fetch(NAME, folder.path()).unwrap(), file.sha256(), "{cuts} cuts after {each}");
        assert!(is_whole(folder.path(), &file));
        let expected = (0..=cuts).map(|cut| (cut * each > 0).then(|| format!("bytes={}-", cut * each)));
        assert_eq!(ranges(&hub), expected.collect::<Vec<_>>());
    }
}

#[test]
fn a_small_file_of_the_hub_itself_goes_on_too() {
    let file = small("tokenizer.json", &noise(5000));
    let hub = Hub::start([file.clone()]);
    hub.script({
        let mut asked = 0;
        move |request| {
            if !request.path.ends_with("tokenizer.json") {
                return None;
            }
            asked += 1;
            (asked == 1).then(|| file.answer(request).cut_after(1234))
        }
    });
    let folder = tempfile::tempdir().unwrap();
    hub.fetch("tokenizer.json", folder.path()).unwrap();
    assert_eq!(hub.requests().last().unwrap().header("range"), Some("bytes=1234-"));
}

#[test]
fn a_later_process_goes_on_with_the_same_version() {
    let file = large(NAME, &noise(SIZE));
    for keep in [1, 300_000, SIZE - 1] {
        let hub = Hub::start([file.clone()]);
        let folder = tempfile::tempdir().unwrap();
        leave_part(&hub, &file, folder.path(), keep);
        assert_eq!(hub.fetch(NAME, folder.path()).unwrap(), file.sha256());
        assert!(is_whole(folder.path(), &file));
        let asked = hub.requests().pop().unwrap();
        assert_eq!(asked.header("range"), Some(format!("bytes={keep}-").as_str()));
        assert!(asked.header("if-range").unwrap().starts_with("\"store-"));
    }
}

#[test]
fn a_whole_part_is_checked_and_renamed_without_a_question() {
    let file = large(NAME, &noise(SIZE));
    let hub = Hub::start([file.clone()]);
    let folder = tempfile::tempdir().unwrap();
    leave_part(&hub, &file, folder.path(), SIZE - 1);
    let part = folder.path().join(format!("{NAME}.part"));
    std::fs::write(part, &file.bytes).unwrap();
    hub.fetch(NAME, folder.path()).unwrap();
    assert!(is_whole(folder.path(), &file));
    assert_eq!(ranges(&hub), []);
}

#[test]
fn a_file_that_changed_meanwhile_is_not_glued_to_its_past() {
    let old = large(NAME, &noise(SIZE));
    let new = large(NAME, &noise(SIZE + 7).split_off(7));
    assert_eq!(old.bytes.len(), new.bytes.len());
    let hub = Hub::start([old.clone()]);
    let folder = tempfile::tempdir().unwrap();
    leave_part(&hub, &old, folder.path(), 300_000);
    hub.replace(new.clone());
    assert_eq!(hub.fetch(NAME, folder.path()).unwrap(), new.sha256());
    assert!(is_whole(folder.path(), &new));
    assert_eq!(ranges(&hub), [None], "nothing of the old one was of use");
}

#[test]
fn a_store_with_another_version_sends_the_whole_file() {
    let file = large(NAME, &noise(SIZE));
    let hub = Hub::start([file.clone()]);
    let folder = tempfile::tempdir().unwrap();
    leave_part(&hub, &file, folder.path(), 300_000);
    // The same bytes under another tag: `If-Range` does not hold, so a whole answer comes.
    let moved = file.clone();
    hub.script(move |request| {
        (request.to == "store").then(|| Answer::new(200, &moved.bytes).with("etag", "\"moved\""))
    });
    hub.fetch(NAME, folder.path()).unwrap();
    assert!(is_whole(folder.path(), &file));
}

#[test]
fn a_server_that_disregards_the_range_or_its_condition_does_no_harm() {
    let file = large(NAME, &noise(SIZE));
    let other = large(NAME, &noise(SIZE + 1).split_off(1));
    let len = SIZE - 1;
    let part_of_another = Answer::new(206, &other.bytes[300_000..])
        .with("content-range", &format!("bytes 300000-{len}/{SIZE}"))
        .with("etag", "\"other\"");
    let wrong_place =
        Answer::new(206, &file.bytes[299_999..]).with("content-range", &format!("bytes 299999-{len}/{SIZE}"));
    let without_place = Answer::new(206, &file.bytes[300_000..]);
    let other_size = Answer::new(206, &file.bytes[300_000..])
        .with("content-range", &format!("bytes 300000-{SIZE}/{}", SIZE + 1));
    let not_satisfiable = Answer::new(416, b"");
    for answer in [part_of_another, wrong_place, without_place, other_size, not_satisfiable] {
        let hub = Hub::start([file.clone()]);
        let folder = tempfile::tempdir().unwrap();
        leave_part(&hub, &file, folder.path(), 300_000);
        let said = answer.clone();
        hub.script(move |request| {
            let is_meant = request.to == "store" && request.header("range").is_some();
            is_meant.then(|| said.clone())
        });
        assert_eq!(hub.fetch(NAME, folder.path()).unwrap(), file.sha256(), "{answer:?}");
        assert!(is_whole(folder.path(), &file));
        assert_eq!(ranges(&hub).len(), 2);
    }
}

#[test]
fn a_part_that_was_damaged_on_the_disk_does_not_become_a_file() {
    let file = large(NAME, &noise(SIZE));
    let hub = Hub::start([file.clone()]);
    let folder = tempfile::tempdir().unwrap();
    leave_part(&hub, &file, folder.path(), 300_000);
    let part = folder.path().join(format!("{NAME}.part"));
    let mut bytes = std::fs::read(&part).unwrap();
    bytes[7] ^= 1;
    std::fs::write(&part, bytes).unwrap();
    assert!(matches!(hub.fetch(NAME, folder.path()), Err(HubError::Digest { .. })));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
    // And then everything is as if it had never been.
    hub.fetch(NAME, folder.path()).unwrap();
    assert!(is_whole(folder.path(), &file));
}

#[test]
fn a_part_without_a_note_or_with_a_damaged_one_is_thrown_away() {
    let file = large(NAME, &noise(SIZE));
    for note in [None, Some("{"), Some("{}")] {
        let hub = Hub::start([file.clone()]);
        let folder = tempfile::tempdir().unwrap();
        leave_part(&hub, &file, folder.path(), 300_000);
        let path = folder.path().join(format!("{NAME}.part.json"));
        match note {
            None => std::fs::remove_file(path).unwrap(),
            Some(text) => std::fs::write(path, text).unwrap(),
        }
        hub.fetch(NAME, folder.path()).unwrap();
        assert!(is_whole(folder.path(), &file));
        assert_eq!(ranges(&hub), [None]);
    }
}

#[test]
fn cuts_that_bring_nothing_come_to_an_end() {
    let file = large(NAME, &noise(SIZE));
    let hub = Hub::start([file.clone()]);
    let folder = tempfile::tempdir().unwrap();
    cut(&hub, &file, usize::MAX, 0);
    let error = hub.fetch(NAME, folder.path()).unwrap_err();
    assert!(matches!(error, HubError::Cut { missing: 600_000, .. }), "{error}");
    assert_eq!(hub.pauses(), [1, 2, 4, 8]);
    // As long as something comes, it goes on.
    cut(&hub, &file, usize::MAX, 50_000);
    hub.fetch(NAME, folder.path()).unwrap();
    assert_eq!(hub.pauses(), [1; 11]);
}
