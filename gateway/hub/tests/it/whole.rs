//! Repositories that come as they should.

use crate::scripted::{Answer, COMMIT, Hub, fetch, large, noise, small, snapshot};

#[test]
fn files_come_whole_from_the_hub_and_from_its_store() {
    let files =
        [small("config.json", b"{}"), large("model.safetensors", &noise(700_000)), small("empty", b"")];
    let hub = Hub::start(files.clone());
    let client = hub.client();
    let snapshot = snapshot(&client).unwrap();
    assert_eq!(snapshot.commit(), COMMIT);
    assert_eq!(snapshot.names().collect::<Vec<_>>(), ["config.json", "model.safetensors", "empty"]);
    let folder = tempfile::tempdir().unwrap();
    for file in files {
        assert_eq!(fetch(&client, &file.name, folder.path()).unwrap(), file.sha256());
        assert_eq!(std::fs::read(folder.path().join(&file.name)).unwrap(), file.bytes);
    }
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 3, "nothing else is left");
    assert!(hub.pauses().is_empty());
}

#[test]
fn every_file_is_of_the_commit_that_the_revision_meant_at_first() {
    let hub = Hub::start([small("config.json", b"{}")]);
    let folder = tempfile::tempdir().unwrap();
    hub.fetch("config.json", folder.path()).unwrap();
    let paths: Vec<String> = hub.requests().into_iter().map(|request| request.path).collect();
    assert_eq!(
        paths,
        [
            "/api/models/org/tiny/revision/main?blobs=true".to_owned(),
            format!("/org/tiny/resolve/{COMMIT}/config.json"),
        ]
    );
}

#[test]
fn the_token_goes_to_the_hub_and_not_to_the_store() {
    let hub = Hub::start([large("model.safetensors", &noise(1000))]);
    let folder = tempfile::tempdir().unwrap();
    fetch(&hub.client_with(Some("hf_secret")), "model.safetensors", folder.path()).unwrap();
    let seen: Vec<_> = hub
        .requests()
        .into_iter()
        .map(|request| (request.to, request.header("authorization").map(str::to_owned)))
        .collect();
    let bearer = Some("Bearer hf_secret".to_owned());
    assert_eq!(seen, [("hub", bearer.clone()), ("hub", bearer), ("store", None)]);
}

#[test]
fn a_file_that_is_there_is_not_loaded_again() {
    let hub = Hub::start([small("config.json", b"{}"), large("model.safetensors", &noise(1000))]);
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        let first = hub.fetch(name, folder.path()).unwrap();
        hub.requests();
        assert_eq!(hub.fetch(name, folder.path()).unwrap(), first);
        assert_eq!(hub.requests().len(), 1, "only the listing is asked for");
    }
    // One of the same length with other bytes is replaced.
    std::fs::write(folder.path().join("config.json"), "[]").unwrap();
    hub.fetch("config.json", folder.path()).unwrap();
    assert_eq!(std::fs::read_to_string(folder.path().join("config.json")).unwrap(), "{}");
}

#[test]
fn files_lie_in_the_folders_that_their_names_have() {
    let hub = Hub::start([small("1_Pooling/config.json", b"{}")]);
    let folder = tempfile::tempdir().unwrap();
    hub.fetch("1_Pooling/config.json", folder.path()).unwrap();
    assert!(folder.path().join("1_Pooling/config.json").is_file());
}

#[test]
fn a_mirror_may_leave_sizes_and_checksums_out_of_its_listing() {
    let hub = Hub::start([small("config.json", b"{}"), large("model.safetensors", &noise(1000))]);
    hub.script(|request| {
        let names = r#"[{ "rfilename": "config.json" }, { "rfilename": "model.safetensors" }]"#;
        let listing = format!(r#"{{ "sha": "{COMMIT}", "siblings": {names} }}"#);
        request.path.starts_with("/api/").then(|| Answer::new(200, listing.as_bytes()))
    });
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        hub.fetch(name, folder.path()).unwrap();
    }
}

#[test]
fn a_repository_may_have_moved() {
    let hub = Hub::start([small("config.json", b"{}")]);
    hub.script(|request| {
        let rest = request.path.strip_prefix("/api/models/org/tiny/revision/main?")?;
        let moved = format!("/api/models/new/tiny/revision/main?{rest}");
        Some(Answer::new(307, b"").with("location", &moved))
    });
    // The new name is not played here, so what comes is that it was asked for.
    let folder = tempfile::tempdir().unwrap();
    hub.fetch("config.json", folder.path()).unwrap_err();
    assert_eq!(hub.requests()[1].path, "/api/models/new/tiny/revision/main?blobs=true");
}
