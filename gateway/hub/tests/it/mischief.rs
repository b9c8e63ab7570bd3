//! Hubs and stores that lie, and disks that are full: nothing that is wrong stays.

use std::path::Path;

use hub::{Client, HubError};

use crate::scripted::{Answer, COMMIT, Hub, large, noise, small, snapshot, words};

const NAME: &str = "model.safetensors";

fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn bytes_that_are_not_the_promised_ones_are_refused_and_removed() {
    let (weights, config) = (large(NAME, &noise(300_000)), small("config.json", b"{\"a\": 1}"));
    for file in [weights, config] {
        let hub = Hub::start([file.clone()]);
        let mut other = file.clone();
        *other.bytes.last_mut().unwrap() ^= 1;
        hub.script(move |request| {
            let is_meant = request.path.contains("/blobs/") || request.path.ends_with("config.json");
            is_meant.then(|| Answer::new(200, &other.bytes))
        });
        let folder = tempfile::tempdir().unwrap();
        let error = hub.fetch(&file.name, folder.path()).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, HubError::Digest { .. }), "{text}");
        assert!(text.contains("expected ") && text.contains("has been removed"), "{text}");
        assert!(is_empty(folder.path()), "{}", file.name);
        assert!(hub.pauses().is_empty(), "it is not tried again by itself");
    }
}

#[test]
fn more_bytes_than_promised_are_not_taken() {
    let file = large(NAME, &noise(300_000));
    let hub = Hub::start([file.clone()]);
    hub.script(move |request| {
        (request.to == "store").then(|| Answer::new(200, &[&file.bytes[..], b"more"].concat()))
    });
    let folder = tempfile::tempdir().unwrap();
    let error = hub.fetch(NAME, folder.path()).unwrap_err();
    assert!(error.to_string().contains("more than the 300000 bytes"), "{error}");
    assert!(is_empty(folder.path()));
}

#[test]
fn a_name_that_leaves_the_folder_ends_everything() {
    for name in ["../x.safetensors", "/etc/x.safetensors", "a/../../x", "a\\..\\x"] {
        let hub = Hub::start([small("config.json", b"{}"), small(name, b"x")]);
        let error = snapshot(&hub.client()).unwrap_err();
        assert!(matches!(&error, HubError::Name { name: said } if said == name), "{error}");
    }
}

#[test]
fn a_hub_that_contradicts_its_listing_is_not_believed() {
    let file = large(NAME, &noise(1000));
    let contradictions = [
        ("x-repo-commit", "f".repeat(40), "commit ffff"),
        ("x-linked-etag", format!("\"{}\"", "a".repeat(64)), "sha256:aaaa"),
    ];
    for (header, value, sent_words) in contradictions {
        let hub = Hub::start([file.clone()]);
        let sent = file.clone();
        hub.script(move |request| {
            let is_meant = request.path.contains("/resolve/");
            is_meant.then(|| Answer::new(200, &sent.bytes).with(header, &value))
        });
        let folder = tempfile::tempdir().unwrap();
        let error = hub.fetch(NAME, folder.path()).unwrap_err();
        assert!(matches!(error, HubError::Contradiction { .. }), "{error}");
        assert!(error.to_string().contains(sent_words), "{error}");
        assert!(is_empty(folder.path()));
    }
}

#[test]
fn a_file_without_a_checksum_is_not_loaded() {
    let hub = Hub::start([small("config.json", b"{}")]);
    hub.script(|request| {
        let listing = format!(r#"{{ "sha": "{COMMIT}", "siblings": [{{ "rfilename": "config.json" }}] }}"#);
        let body = if request.path.starts_with("/api/") { listing } else { "{}".to_owned() };
        Some(Answer::new(200, body.as_bytes()).with("etag", "W/\"weak\""))
    });
    let folder = tempfile::tempdir().unwrap();
    let error = hub.fetch("config.json", folder.path()).unwrap_err();
    assert!(matches!(error, HubError::Unverifiable { .. }), "{error}");
}

#[test]
fn an_answer_that_is_no_listing_is_called_that() {
    let listings = [
        "<html>sign in</html>".to_owned(),
        "{}".to_owned(),
        r#"{ "sha": "main", "siblings": [] }"#.to_owned(),
        r#"{ "sha": "../../../../../../../../../../../../../x", "siblings": [] }"#.to_owned(),
    ];
    for listing in listings {
        let hub = Hub::start([]);
        let text = listing.clone();
        hub.script(move |_| Some(Answer::new(200, text.as_bytes())));
        let error = snapshot(&hub.client()).unwrap_err();
        assert!(matches!(error, HubError::Listing { .. }), "{listing}: {error}");
    }
}

#[test]
fn redirects_that_lead_nowhere_or_round_and_round_are_not_followed() {
    for location in ["", "ftp://127.0.0.1/x", "http://[bad", "file:///etc/passwd"] {
        let hub = Hub::start([]);
        hub.script(move |_| Some(Answer::new(302, b"").with("location", location)));
        let error = snapshot(&hub.client()).unwrap_err();
        assert!(matches!(error, HubError::Redirect { .. }), "{location}: {error}");
        assert_eq!(hub.requests().len(), 1);
    }
    let hub = Hub::start([]);
    hub.script(|request| Some(Answer::new(302, b"").with("location", &request.path)));
    let error = snapshot(&hub.client()).unwrap_err();
    assert!(error.to_string().contains("too many redirects"), "{error}");
    assert_eq!(hub.requests().len(), 7);
}

/// The kernel's own answer for a full disk: the part leads to the device that is always full.
#[test]
fn a_full_disk_leaves_no_half_file() {
    let file = large(NAME, &noise(300_000));
    let hub = Hub::start([file.clone()]);
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink("/dev/full", folder.path().join(format!("{NAME}.part"))).unwrap();
    let note = format!(r#"{{ "checksum": "sha256:{}", "size": 300000, "etag": null }}"#, file.sha256());
    std::fs::write(folder.path().join(format!("{NAME}.part.json")), note).unwrap();
    let error = hub.fetch(NAME, folder.path()).unwrap_err();
    assert!(matches!(error, HubError::Full { .. }), "{error:?}");
    assert!(words(&error).contains("free some room"), "{error}");
    assert!(is_empty(folder.path()));
    assert!(hub.pauses().is_empty());
}

#[test]
fn what_is_missing_is_known_before_it_is_loaded() {
    let hub = Hub::start([small("config.json", b"{}"), large(NAME, &noise(1000))]);
    let client = hub.client();
    let snapshot = snapshot(&client).unwrap();
    let files: Vec<_> =
        snapshot.names().map(|name| client.describe(&snapshot, name, &mut |_| ()).unwrap()).collect();
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(Client::missing_bytes(&files, folder.path()), 1002);
    client.fetch(&snapshot, &files[0], folder.path(), &mut |_| ()).unwrap();
    std::fs::write(folder.path().join(format!("{NAME}.part")), [0; 400]).unwrap();
    assert_eq!(Client::missing_bytes(&files, folder.path()), 600);
    assert!(hub::free_bytes(folder.path()).unwrap() > 0);
    assert!(hub::free_bytes(Path::new("/no/such/folder")).is_err());
}
