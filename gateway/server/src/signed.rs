//! Whether the policy that is about to load was signed by those who must sign it.
//!
//! Called at each load, with the very text that will be compiled: a file that is changed between the check and the
//! compiler would be two files. Without `--policy-keys` nothing is checked; with it, a policy without a signature is
//! refused like any other wrong one. The keys are read at each load too, so that they can be changed without a restart.
//!
//! The highest revision that was in force is kept in the data folder. Whoever can write there can also write the
//! trail; protection from them is not here.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

use policy::bundle::{Accepted, Refusal, Situation, Trust, TrustError, Verified, verify};
use policy::{Digest, Moment, Policy, Source};
use serde_json::{Value, json};

use crate::cli::Serve;
use crate::clock;
use crate::command::CommandError;
use crate::durable;
use crate::policy_files::{self, PolicyFiles};

/// What keeps the highest revision, in the data folder.
pub(crate) const STATE_FOLDER: &str = "policy";

const STATE_FILE: &str = "accepted.json";

/// A policy that was signed as it must be.
#[derive(Debug)]
pub(crate) struct SignedBy {
    pub(crate) verified: Verified,
    /// The revision that was in force before, where an older one is loaded because the operator says so.
    pub(crate) rolled_back_from: Option<u64>,
}

/// Why a policy may not load.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    /// Its signature says so.
    #[error("the policy is refused ({code}): {0}", code = .0.code())]
    Signature(#[from] Refusal),
    /// The file of pinned keys cannot be used.
    #[error("the keys of policies in {}", file.display())]
    Keys {
        file: PathBuf,
        #[source]
        source: TrustError,
    },
    /// A file cannot be read.
    #[error("cannot read {}", file.display())]
    Unreadable {
        file: PathBuf,
        #[source]
        source: io::Error,
    },
    /// What was accepted before is unknown, so an older policy could pass.
    #[error("{} does not say which policy was accepted last; restore it, or remove it to begin anew", .0.display())]
    State(PathBuf),
}

impl Refused {
    /// Returns the code for records and metrics.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Signature(refusal) => refusal.code(),
            Self::Keys { .. } => "policy_keys",
            Self::Unreadable { .. } => "unreadable",
            Self::State(_) => "revision_state",
        }
    }
}

/// Checks the signature of a policy whose files have been read. Returns `None` where no keys are pinned.
pub(crate) fn verify_sources(
    settings: &Serve,
    sources: &[Source],
    now: Moment,
) -> Result<Option<SignedBy>, Refused> {
    let Some(keys) = &settings.policy_keys else { return Ok(None) };
    let trust = read_trust(keys, settings.policy_threshold.unwrap_or(1))?;
    let highest = read_state(&state_file(settings))?;
    let check = |highest| check(&settings.routes, sources, &Situation { trust: &trust, now, highest });
    match (check(highest), highest) {
        (Err(Refused::Signature(Refusal::RolledBack { .. } | Refusal::Reused(_))), Some(before))
            if settings.allow_rollback =>
        {
            Ok(Some(SignedBy { verified: check(None)?, rolled_back_from: Some(before.revision) }))
        }
        (verdict, _) => Ok(Some(SignedBy { verified: verdict?, rolled_back_from: None })),
    }
}

/// Remembers a policy that is in force now, so that no older one follows it.
pub(crate) fn remember(settings: &Serve, signed: &SignedBy) -> io::Result<()> {
    let signers = signed.verified.signers.join(", ");
    tracing::info!(revision = signed.verified.manifest.revision(), signers, "the policy is signed");
    if let Some(before) = signed.rolled_back_from {
        tracing::warn!(before, "an older policy than before is in force, because --allow-rollback says so");
    }
    let Accepted { revision, manifest_sha256 } = signed.verified.accepted;
    fs::create_dir_all(settings.data_dir.join(STATE_FOLDER))?;
    let state = json!({ "revision": revision, "manifest_sha256": manifest_sha256.to_string() });
    durable::replace(&state_file(settings), format!("{state}\n").as_bytes())
}

fn state_file(settings: &Serve) -> PathBuf {
    settings.data_dir.join(STATE_FOLDER).join(STATE_FILE)
}

/// Reads a policy that has to be right, and signed as the settings want it.
pub(crate) fn read_policy(settings: &Serve) -> Result<(Policy, Option<SignedBy>), CommandError> {
    read_files(settings).map(|(_, policy, signed)| (policy, signed))
}

/// The same, with the files that say so.
pub(crate) fn read_files(settings: &Serve) -> Result<(PolicyFiles, Policy, Option<SignedBy>), CommandError> {
    let files = PolicyFiles::read(&settings.routes)?;
    let signed = verify_sources(settings, files.sources(), clock::now())?;
    let policy = files.compile().map_err(|errors| format!("the policy is not valid\n{errors}"))?;
    Ok((files, policy, signed))
}

/// Reads the pinned keys.
pub(crate) fn read_trust(file: &Path, threshold: usize) -> Result<Trust, Refused> {
    let unreadable = |source| Refused::Unreadable { file: file.to_owned(), source };
    let text = fs::read_to_string(file).map_err(unreadable)?;
    Trust::parse(&text, threshold).map_err(|source| Refused::Keys { file: file.to_owned(), source })
}

/// Checks the policy at `routes`, whose files have been read, in a given situation.
pub(crate) fn check(
    routes: &Path,
    sources: &[Source],
    situation: &Situation<'_>,
) -> Result<Verified, Refused> {
    let file = policy_files::signature(routes);
    let signature = match fs::read(&file) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(source) => return Err(Refused::Unreadable { file, source }),
    };
    let named: Vec<(String, &Source)> =
        sources.iter().map(|source| (path_in(&file, Path::new(&source.name)), source)).collect();
    let files = named.iter().map(|(path, source)| (path.as_str(), source.text.as_bytes()));
    Ok(verify(signature.as_deref(), files, situation)?)
}

/// Returns what a signature calls a file: its path below the signature's folder, with `/` between the parts. A file
/// that lies elsewhere keeps its own path, which no signature can name.
pub(crate) fn path_in(signature: &Path, file: &Path) -> String {
    let folder = signature.parent().unwrap_or(Path::new(""));
    let path = file.strip_prefix(folder).unwrap_or(file);
    let named = path.components().filter(|part| *part != Component::CurDir);
    named.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn read_state(file: &Path) -> Result<Option<Accepted>, Refused> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Refused::Unreadable { file: file.to_owned(), source }),
    };
    let accepted = || -> Option<Accepted> {
        let state: Value = serde_json::from_slice(&bytes).ok()?;
        let manifest_sha256 = Digest::from_hex(state.get("manifest_sha256")?.as_str()?)?;
        Some(Accepted { revision: state.get("revision")?.as_u64()?, manifest_sha256 })
    };
    accepted().map(Some).ok_or_else(|| Refused::State(file.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use policy::bundle::{Draft, Manifest, SignedFile, SigningKey, Window};

    use super::*;
    use crate::cli::Cli;

    const ROUTES: &str = "version: 1\n";

    /// A folder with a policy, its signature, and a server's settings.
    struct Site {
        folder: tempfile::TempDir,
        key: SigningKey,
    }

    impl Site {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let key = SigningKey::from_entropy("corp.example/security", [1; 32]).unwrap();
            fs::write(folder.path().join("keys"), format!("{}\n", key.verifier())).unwrap();
            Self { folder, key }
        }

        fn sign(&self, revision: u64) {
            let window = Window {
                not_before: Moment::parse("2026-01-01").unwrap(),
                not_after: Moment::parse("2027-01-01").unwrap(),
            };
            let files = vec![SignedFile::of("routes.yaml", ROUTES.as_bytes())];
            let mut draft = Draft::new(Manifest::new(revision, window, None, files).unwrap());
            draft.sign(&self.key);
            fs::write(self.folder.path().join("routes.sig"), draft.text()).unwrap();
        }

        fn settings(&self, more: &[&str]) -> Serve {
            let path = |name: &str| self.folder.path().join(name).display().to_string();
            let (routes, data, keys) = (path("routes.yaml"), path("data"), path("keys"));
            let fixed = ["portcullis", "--routes", &routes, "--data-dir", &data, "--policy-keys", &keys];
            Cli::try_parse_from(fixed.iter().chain(more)).unwrap().serve
        }

        /// Loads the policy as a server does.
        fn load(&self, more: &[&str]) -> Result<Option<u64>, &'static str> {
            let settings = self.settings(more);
            let source = Source { name: settings.routes.display().to_string(), text: ROUTES.to_owned() };
            let now = Moment::parse("2026-06-01").unwrap();
            let signed = verify_sources(&settings, &[source], now).map_err(|refused| refused.code())?;
            let signed = signed.expect("keys are pinned");
            remember(&settings, &signed).unwrap();
            Ok(signed.rolled_back_from)
        }
    }

    #[test]
    fn a_server_with_keys_loads_what_is_signed_and_never_an_older_one() {
        let site = Site::new();
        assert_eq!(site.load(&[]), Err("unsigned"));
        for revision in [1, 7, 7] {
            site.sign(revision);
            assert_eq!(site.load(&[]), Ok(None));
        }
        site.sign(6);
        assert_eq!(site.load(&[]), Err("rolled_back"));
        // Going back is said aloud, and is a step: from here on, older ones than this are refused.
        assert_eq!(site.load(&["--allow-rollback"]), Ok(Some(7)));
        assert_eq!(site.load(&[]), Ok(None));
        site.sign(5);
        assert_eq!(site.load(&[]), Err("rolled_back"));
        assert_eq!(site.load(&["--policy-threshold", "2"]), Err("policy_keys"));
    }

    #[test]
    fn a_server_that_forgot_what_it_accepted_loads_nothing() {
        let site = Site::new();
        site.sign(7);
        assert_eq!(site.load(&[]), Ok(None));
        let state = site.folder.path().join("data").join(STATE_FOLDER).join(STATE_FILE);
        let whole = fs::read_to_string(&state).unwrap();
        for broken in ["", "{}", "{\"revision\":7}", &whole[..whole.len() - 5], &whole.replace('7', "-7")] {
            fs::write(&state, broken).unwrap();
            assert_eq!(site.load(&[]), Err("revision_state"), "{broken}");
        }
        fs::remove_file(&state).unwrap();
        assert_eq!(site.load(&[]), Ok(None));
    }

    #[test]
    fn files_are_named_from_the_folder_of_their_signature() {
        for (signature, file, name) in [
            ("routes.sig", "routes.yaml", "routes.yaml"),
            ("./routes.sig", "./routes.yaml", "routes.yaml"),
            ("routes.sig", "./teams/docs.yaml", "teams/docs.yaml"),
            ("/etc/p/routes.sig", "/etc/p/teams/docs.yaml", "teams/docs.yaml"),
            ("conf/routes.sig", "other/routes.yaml", "other/routes.yaml"),
        ] {
            assert_eq!(path_in(Path::new(signature), Path::new(file)), name);
        }
    }
}
