//! Closed doors, absent things, and hubs that are busy: what is said, and how often it is tried.

use hub::HubError;

use crate::scripted::{Answer, Hub, fetch, large, noise, small, words};

/// What is said when every question about a file is answered so, and how often it was asked.
fn said(token: Option<&str>, answer: &Answer) -> (String, usize) {
    let hub = Hub::start([small("config.json", b"{}")]);
    let answer = answer.clone();
    hub.script(move |request| request.path.contains("/resolve/").then(|| answer.clone()));
    let folder = tempfile::tempdir().unwrap();
    let error = fetch(&hub.client_with(token), "config.json", folder.path()).unwrap_err();
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0, "{error}");
    let asked = hub.requests().into_iter().filter(|request| request.path.contains("/resolve/")).count();
    (words(&error), asked)
}

#[track_caller]
fn check(token: Option<&str>, answer: &Answer, expected: &[&str]) {
    let (text, asked) = said(token, answer);
    for word in expected {
        assert!(text.contains(word), "{word:?} is not in\n{text}");
    }
    assert!(!text.contains("hf_secret"), "{text}");
    assert_eq!(asked, 1, "no second try would change that");
}

#[test]
fn a_gated_repository_is_explained() {
    let gated = |status| Answer::new(status, b"").with("x-error-code", "GatedRepo");
    let steps = ["org/tiny is gated", "accept the terms at http://127.0.0.1", "/org/tiny", "HF_TOKEN"];
    check(None, &gated(401), &steps);
    let not_let_in = ["org/tiny is gated", "has not been let in", "accept the terms at http://127.0.0.1"];
    check(Some("hf_secret"), &gated(403), &not_let_in);
}

#[test]
fn a_token_that_is_no_good_is_called_that() {
    let invalid =
        Answer::new(401, b"").with("x-error-message", "Invalid credentials in Authorization header");
    check(Some("hf_secret"), &invalid, &["does not accept the token", "make a new one"]);
}

#[test]
fn what_is_hidden_may_be_private() {
    let hidden =
        Answer::new(401, b"{\"error\":\"Repository not found\"}").with("x-error-code", "RepoNotFound");
    check(None, &hidden, &["no repository org/tiny, or it is private", "check the spelling", "HF_TOKEN"]);
    check(Some("hf_secret"), &hidden, &["may not see it", "permissions"]);
}

#[test]
fn what_is_absent_is_named() {
    let absent = |code| Answer::new(404, b"").with("x-error-code", code);
    check(None, &absent("EntryNotFound"), &["org/tiny has no file `config.json`"]);
    check(
        None,
        &absent("RevisionNotFound"),
        &["org/tiny has no revision `main`", "a branch, a tag or a commit"],
    );
    check(None, &absent("RepoNotFound"), &["no repository org/tiny", "check the spelling"]);
    let disabled = Answer::new(403, b"").with("x-error-message", "Access to this resource is disabled.");
    check(None, &disabled, &["answered 403: Access to this resource is disabled."]);
    check(None, &Answer::new(451, b"{\"error\":\"not here\"}"), &["answered 451: not here"]);
}

#[test]
fn a_file_that_is_not_listed_is_not_asked_for() {
    let hub = Hub::start([small("config.json", b"{}")]);
    let folder = tempfile::tempdir().unwrap();
    let error = hub.fetch("other.gguf", folder.path()).unwrap_err();
    assert!(matches!(error, HubError::Absent { .. }), "{error}");
    assert_eq!(hub.requests().len(), 1);
}

#[test]
fn a_busy_hub_is_asked_again_when_it_says_and_not_for_ever() {
    for (status, place) in [(429, "/api/"), (503, "/resolve/"), (500, "/blobs/")] {
        let file = large("model.safetensors", &noise(1000));
        let hub = Hub::start([file.clone()]);
        let folder = tempfile::tempdir().unwrap();
        let mut left = 3;
        hub.script(move |request| {
            let is_meant = request.path.contains(place) && left > 0;
            is_meant.then(|| {
                left -= 1;
                Answer::new(status, b"").with("retry-after", "7")
            })
        });
        assert_eq!(hub.fetch(&file.name, folder.path()).unwrap(), file.sha256());
        assert_eq!(hub.pauses(), [7, 7, 7], "{status} at {place}");

        let folder = tempfile::tempdir().unwrap();
        hub.script(move |request| request.path.contains(place).then(|| Answer::new(status, b"")));
        let error = hub.fetch(&file.name, folder.path()).unwrap_err();
        assert!(matches!(error, HubError::Busy { .. }), "{error}");
        assert_eq!(hub.pauses(), [1, 2, 4, 8]);
    }
}

#[test]
fn the_window_of_a_rate_limit_is_waited_for() {
    let hub = Hub::start([]);
    let mut left = 1;
    hub.script(move |_| {
        left -= 1;
        (left == 0).then(|| Answer::new(429, b"").with("ratelimit", "\"api\";r=0;t=55"))
    });
    hub.client().snapshot(&"org/tiny".parse().unwrap(), &mut |_| ()).unwrap();
    assert_eq!(hub.pauses(), [55]);
}

#[test]
fn a_hub_that_wants_an_hour_is_not_waited_for() {
    let hub = Hub::start([]);
    hub.script(|_| Some(Answer::new(429, b"").with("retry-after", "3600")));
    let error = hub.client().snapshot(&"org/tiny".parse().unwrap(), &mut |_| ()).unwrap_err();
    assert!(words(&error).contains("in 3600 s"), "{error}");
    assert_eq!((hub.requests().len(), hub.pauses()), (1, vec![]));
}

#[test]
fn a_hub_that_nobody_answers_for_is_named() {
    let hub = Hub::start([]);
    let client = hub.client();
    // Free a moment ago, and nobody of this test listens there.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    hub.script(move |_| {
        Some(Answer::new(307, b"").with("location", &format!("http://127.0.0.1:{port}/api/models/x")))
    });
    let error = client.snapshot(&"org/tiny".parse().unwrap(), &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains(&format!("cannot load from 127.0.0.1:{port}")), "{error}");
    assert_eq!(hub.pauses(), [1, 2, 4, 8]);
}
