//! Signed policies: what is accepted, and under which code everything else is refused.

use policy::Moment;
use policy::bundle::{
    Accepted, Draft, Manifest, Refusal, SignedFile, SigningKey, Situation, Trust, Verified, Window, verify,
};

const ROUTES: &[u8] = b"version: 1\nproviders: {}\nmodels: {}\nworkflows: {}\n";
const TEAM: &[u8] = b"workflows: {}\n";
const FILES: [(&str, &[u8]); 2] = [("routes.yaml", ROUTES), ("teams/docs.yaml", TEAM)];

fn key(name: &str, byte: u8) -> SigningKey {
    SigningKey::from_entropy(name, [byte; 32]).expect("a test's name")
}

fn security() -> SigningKey {
    key("corp.example/security", 1)
}

fn owner() -> SigningKey {
    key("corp.example/owner", 2)
}

fn stranger() -> SigningKey {
    key("corp.example/stranger", 3)
}

fn moment(text: &str) -> Moment {
    Moment::parse(text).expect("a test's moment")
}

fn draft(revision: u64) -> Draft {
    let window = Window { not_before: moment("2026-11-25"), not_after: moment("2027-02-23") };
    let files = FILES.map(|(path, bytes)| SignedFile::of(path, bytes));
    Draft::new(Manifest::new(revision, window, None, files.into()).expect("a test's manifest"))
}

/// Returns the signature file of a revision, signed by `keys`.
fn signed(revision: u64, keys: &[SigningKey]) -> String {
    let mut draft = draft(revision);
    for key in keys {
        draft.sign(key);
    }
    draft.text()
}

fn trust(keys: &[SigningKey], threshold: usize) -> Trust {
    let list: Vec<String> = keys.iter().map(|key| key.verifier().to_string()).collect();
    Trust::parse(&list.join("\n"), threshold).expect("a test's keys")
}

/// What a server holds: two keys of which one must have signed, and a time within the window.
struct Server {
    trust: Trust,
    now: &'static str,
    highest: Option<Accepted>,
}

impl Server {
    fn new() -> Self {
        Self { trust: trust(&[security(), owner()], 1), now: "2026-12-24T18:00:00Z", highest: None }
    }

    fn verify(&self, signature: &[u8], files: &[(&str, &[u8])]) -> Result<Verified, Refusal> {
        let Self { trust, now, highest } = self;
        let situation = Situation { trust, now: moment(now), highest: *highest };
        verify(Some(signature), files.iter().copied(), &situation)
    }

    #[track_caller]
    fn code(&self, signature: impl AsRef<[u8]>, files: &[(&str, &[u8])]) -> &'static str {
        self.verify(signature.as_ref(), files).expect_err("this is to be refused").code()
    }
}

#[test]
fn what_its_owners_signed_is_accepted() {
    let both = [security(), owner()];
    let two = Server { trust: trust(&both, 2), ..Server::new() };
    let verified = two.verify(signed(7, &both).as_bytes(), &FILES).unwrap();
    assert_eq!(verified.manifest.revision(), 7);
    assert_eq!(verified.signers, both.each_ref().map(|key| key.verifier().label()));
    // The order in which files are read means nothing.
    let [a, b] = FILES;
    assert!(two.verify(signed(7, &both).as_bytes(), &[b, a]).is_ok());
    // Signatures by others, such as a witness, are looked past.
    let witnessed = signed(7, &[stranger(), security(), stranger(), owner()]);
    assert_eq!(two.verify(witnessed.as_bytes(), &FILES).unwrap().signers, verified.signers);
}

#[test]
fn a_second_signature_joins_the_first_and_changes_nothing_else() {
    let mut second = Draft::parse(signed(7, &[security()]).as_bytes()).unwrap();
    assert_eq!(second.manifest(), draft(7).manifest());
    second.sign(&owner());
    second.sign(&owner());
    assert_eq!(second.signature_count(), 2);
    assert_eq!(second.text(), signed(7, &[security(), owner()]));
}

#[test]
fn a_flip_of_any_bit_of_a_signature_file_is_refused() {
    let server = Server::new();
    let whole = signed(7, &[security()]);
    let signed_bytes = whole.rfind("\n\n").unwrap() + 1;
    for index in 0..whole.len() {
        for bit in 0..8 {
            let mut bytes = whole.clone().into_bytes();
            bytes[index] ^= 1 << bit;
            let code = server.code(&bytes, &FILES);
            // What is signed is never read before it is known to be signed.
            let known: &[&str] = if index < signed_bytes {
                &["bad_signature", "malformed"]
            } else {
                &["bad_signature", "malformed", "unknown_key", "unsigned"]
            };
            assert!(known.contains(&code), "{code} for bit {bit} of byte {index}");
            let readable = bytes.is_ascii() && bytes[index] >= b' ' && whole.as_bytes()[index] != b'\n';
            if index < signed_bytes && readable {
                assert_eq!(code, "bad_signature", "bit {bit} of byte {index}");
            }
        }
    }
}

#[test]
fn a_flip_of_any_bit_of_a_file_is_refused() {
    let server = Server::new();
    let signature = signed(7, &[security()]);
    for (position, (path, whole)) in FILES.into_iter().enumerate() {
        for index in 0..whole.len() {
            for bit in 0..8 {
                let mut changed = whole.to_vec();
                changed[index] ^= 1 << bit;
                let mut files = FILES;
                files[position] = (path, &changed);
                assert_eq!(server.code(&signature, &files), "file_changed");
            }
        }
        let mut files = FILES;
        files[position] = (path, &whole[1..]);
        assert_eq!(server.code(&signature, &files), "file_changed");
    }
}

#[test]
fn a_cut_at_any_byte_is_refused() {
    let server = Server::new();
    let whole = signed(7, &[security()]);
    for end in 0..whole.len() {
        let code = server.code(&whole.as_bytes()[..end], &FILES);
        assert!(matches!(code, "unsigned" | "malformed"), "{code} for a cut at {end}");
    }
}

#[test]
fn a_stripped_signature_is_unsigned() {
    let server = Server::new();
    let text = draft(7).manifest().to_string();
    for stripped in [text.clone(), format!("{text}\n"), String::new()] {
        assert_eq!(server.code(&stripped, &FILES), "unsigned");
    }
    let situation = Situation { trust: &server.trust, now: moment(server.now), highest: None };
    assert_eq!(verify(None, FILES, &situation), Err(Refusal::Unsigned));
    // Of two that must sign, one was taken away.
    let two = Server { trust: trust(&[security(), owner()], 2), ..Server::new() };
    assert_eq!(two.code(signed(7, &[owner()]), &FILES), "threshold");
}

#[test]
fn signatures_of_strangers_do_not_count() {
    let server = Server::new();
    assert_eq!(server.code(signed(7, &[stranger()]), &FILES), "unknown_key");
    // Neither a known name nor a known key is enough: it takes both.
    let named_alike = key("corp.example/security", 3);
    assert_eq!(server.code(signed(7, &[named_alike]), &FILES), "unknown_key");
    let same_key = key("corp.example/stranger", 1);
    assert_eq!(server.code(signed(7, &[same_key]), &FILES), "unknown_key");
}

#[test]
fn fewer_signers_than_the_threshold_are_too_few() {
    let all = [security(), owner(), key("corp.example/third", 4)];
    for threshold in 1..=3 {
        let server = Server { trust: trust(&all, threshold), ..Server::new() };
        for count in 1..=3 {
            let verdict = server.verify(signed(7, &all[..count]).as_bytes(), &FILES);
            match verdict {
                Ok(verified) => assert!(count >= threshold && verified.signers.len() == count),
                Err(refusal) => assert!(count < threshold && refusal.code() == "threshold"),
            }
        }
        // One signer is one signer, however often the line stands there.
        let once = signed(7, &[security()]);
        let line = once.lines().last().unwrap();
        let thrice = format!("{once}{line}\n{line}\n");
        assert_eq!(server.verify(thrice.as_bytes(), &FILES).is_ok(), threshold == 1);
    }
}

#[test]
fn a_false_signature_in_a_known_name_spoils_the_note() {
    let server = Server::new();
    let other = signed(8, &[owner()]);
    let forged = signed(7, &[security()]) + other.lines().last().unwrap() + "\n";
    assert_eq!(server.code(forged, &FILES), "bad_signature");
}

#[test]
fn a_policy_holds_in_its_time_only() {
    let signature = signed(7, &[security()]);
    for (now, verdict) in [
        ("1970-01-01", Err("not_yet_valid")),
        ("2026-11-24T23:59:59Z", Err("not_yet_valid")),
        ("2026-11-25T00:00:00Z", Ok(())),
        ("2027-02-22T23:59:59Z", Ok(())),
        ("2027-02-23T00:00:00Z", Err("expired")),
        ("9999-12-31", Err("expired")),
    ] {
        let server = Server { now, ..Server::new() };
        let found = server.verify(signature.as_bytes(), &FILES);
        assert_eq!(found.map(|_| ()).map_err(|refusal| refusal.code()), verdict, "{now}");
    }
}

#[test]
fn no_policy_older_than_the_newest_is_accepted() {
    let accepted = |revision| {
        let signature = signed(revision, &[security()]);
        Server::new().verify(signature.as_bytes(), &FILES).unwrap().accepted
    };
    for highest in [1, 6, 7, 8, 1 << 53] {
        let server = Server { highest: Some(accepted(highest)), ..Server::new() };
        let verdict = server.verify(signed(7, &[security()]).as_bytes(), &FILES);
        assert_eq!(
            verdict.map(|_| ()).map_err(|refusal| refusal.code()),
            if highest > 7 { Err("rolled_back") } else { Ok(()) }
        );
    }
    // Another signer of the same policy changes nothing; another policy of the same number does.
    let server = Server { highest: Some(accepted(7)), ..Server::new() };
    assert!(server.verify(signed(7, &[owner(), security()]).as_bytes(), &FILES).is_ok());
    let window = Window { not_before: moment("2026-11-25"), not_after: moment("2028-02-23") };
    let files = FILES.map(|(path, bytes)| SignedFile::of(path, bytes));
    let mut longer = Draft::new(Manifest::new(7, window, None, files.into()).unwrap());
    longer.sign(&security());
    assert_eq!(server.code(longer.text(), &FILES), "rolled_back");
}

#[test]
fn files_are_exactly_those_that_were_signed() {
    let server = Server::new();
    let signature = signed(7, &[security()]);
    let [routes, team] = FILES;
    assert_eq!(server.code(&signature, &[routes]), "file_missing");
    assert_eq!(server.code(&signature, &[]), "file_missing");
    assert_eq!(server.code(&signature, &[routes, team, ("teams/more.yaml", b"")]), "file_extra");
    assert_eq!(server.code(&signature, &[routes, team, team]), "file_extra");
    assert_eq!(server.code(&signature, &[routes, ("teams/Docs.yaml", TEAM)]), "file_extra");
    // Two files that changed places are two other files.
    assert_eq!(
        server.code(&signature, &[("routes.yaml", TEAM), ("teams/docs.yaml", ROUTES)]),
        "file_changed"
    );
}

#[test]
fn what_was_signed_for_something_else_is_no_policy() {
    // A note of Go's own tests: well signed, by a key that is pinned, and about something else.
    let note = "If you think cryptography is the answer to your problem,\n\
        then you don't know what your problem is.\n\n\
        — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";
    let peter = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    let server = Server { trust: Trust::parse(peter, 1).unwrap(), ..Server::new() };
    assert_eq!(server.code(note, &FILES), "schema");
    assert_eq!(Server::new().code(note, &FILES), "unknown_key");
}

#[test]
fn refusals_say_what_to_do() {
    let two = Server { trust: trust(&[security(), owner()], 2), ..Server::new() };
    let late = Server { now: "2027-03-01", ..Server::new() };
    let early = Server { now: "2026-01-01", ..Server::new() };
    let newest = Accepted { revision: 9, manifest_sha256: policy::Digest::new([0; 32]) };
    let newer = Server { highest: Some(newest), ..Server::new() };
    let used = Server { highest: Some(Accepted { revision: 7, ..newest }), ..Server::new() };
    let (good, [routes, team]) = (signed(7, &[security()]), FILES);
    let changed = good.replacen("revision 7", "revision 8", 1);
    let said: Vec<String> = [
        two.verify(b"", &FILES),
        two.verify(b"x\n\ny\n", &FILES),
        two.verify(signed(7, &[stranger()]).as_bytes(), &FILES),
        two.verify(good.as_bytes(), &FILES),
        two.verify(changed.as_bytes(), &FILES),
        early.verify(good.as_bytes(), &FILES),
        late.verify(good.as_bytes(), &FILES),
        newer.verify(good.as_bytes(), &FILES),
        used.verify(good.as_bytes(), &FILES),
        with_files(&good, &[routes]),
        with_files(&good, &[routes, team, ("more.yaml", b"")]),
        with_files(&good, &[team, ("routes.yaml", b"")]),
    ]
    .into_iter()
    .map(|verdict| verdict.expect_err("every one is refused"))
    .map(|refusal| format!("{}: {refusal}", refusal.code()))
    .collect();
    insta::assert_snapshot!(said.join("\n"));
}

fn with_files(signature: &str, files: &[(&str, &[u8])]) -> Result<Verified, Refusal> {
    Server::new().verify(signature.as_bytes(), files)
}
