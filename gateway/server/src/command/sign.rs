//! `portcullis sign`: keys for signers, and signatures under policies.
//!
//! Signing needs no server and no network. The signature lies in a file beside the policy, so that it is reviewed,
//! shipped and rolled out with it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write, stdout};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use policy::bundle::{Draft, Manifest, SignedFile, SigningKey, Window};
use policy::{Moment, Source};

use super::{CommandError, moment, read_duration};
use crate::clock::now;
use crate::durable;
use crate::error::with_causes;
use crate::policy_files::{self, PolicyFiles};
use crate::signed::path_in;

pub(crate) const HELP: &str = "\
From a key to a server that loads signed policies only:
  portcullis sign keygen corp.example/security --out security.key  prints the line for policy.keys
  portcullis sign --key security.key --revision 1                  routes.sig, beside routes.yaml
  portcullis sign policy --key security.key                        policy/routes.sig, over its files
  portcullis sign --key owner.key                                  adds the second signature
  portcullis verify --policy-keys policy.keys --threshold 2        as a server would
  portcullis serve --policy-keys policy.keys --policy-threshold 2

The signature file is a C2SP signed note over paths, SHA-256 and sizes of the files. A policy that was
changed is signed anew, with a higher revision; a server takes no lower one than it had. Signing an
unchanged policy adds a signature to those that are there.";

/// What to sign, with which key.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Sign {
    #[command(subcommand)]
    command: Option<SignCommand>,
    /// The policy: a file, or a folder of files
    #[arg(default_value = "routes.yaml", value_name = "FILE|DIR")]
    routes: PathBuf,
    /// The signer's private key, of `portcullis sign keygen`
    #[arg(long, required = true, value_name = "FILE")]
    key: Option<PathBuf>,
    /// The policy's number [default: one more than that of the signature file, or 1]
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
    /// When the policy begins to hold [default: now]
    #[arg(long, value_name = "DATE|TIME", value_parser = moment)]
    not_before: Option<Moment>,
    /// When the policy stops to hold
    #[arg(long, value_name = "DATE|TIME", value_parser = moment, conflicts_with = "valid_for")]
    not_after: Option<Moment>,
    /// For how long the policy holds [default: 90d]
    #[arg(long, value_name = "DURATION", value_parser = read_duration)]
    valid_for: Option<std::time::Duration>,
    /// The commit that the files come from, for those who look into it later
    #[arg(long, value_name = "HASH")]
    git_commit: Option<String>,
    /// The signature file [default: routes.sig beside routes.yaml, or in the folder]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// What else has to do with signing.
#[derive(Debug, Subcommand)]
enum SignCommand {
    /// Make a signer's key: a private file, and the line that servers pin
    Keygen {
        /// Who signs with it, such as corp.example/security
        name: String,
        /// The private key file [default: after the last part of the name, such as security.key]
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// For how long a policy holds where nobody says: long enough for a quarter's work, short enough to be noticed.
const VALID_FOR: std::time::Duration = std::time::Duration::from_secs(90 * 86_400);

pub(super) fn run(settings: &Sign) -> Result<ExitCode, CommandError> {
    match (&settings.command, &settings.key) {
        (Some(SignCommand::Keygen { name, out }), _) => keygen(name, out.as_deref()),
        (None, Some(key)) => sign(settings, key),
        (None, None) => Err("--key is required".into()),
    }
}

fn keygen(name: &str, file: Option<&Path>) -> Result<ExitCode, CommandError> {
    let key = SigningKey::from_entropy(name, rand::random())?;
    let last = name.rsplit('/').next().filter(|last| !last.is_empty()).unwrap_or("policy");
    let file = file.map_or_else(|| PathBuf::from(format!("{last}.key")), Path::to_owned);
    // Never over a file that is there: it may be the only copy of another key.
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file);
    let written = created.and_then(|mut created| {
        writeln!(created, "{}", key.expose())?;
        created.sync_all()
    });
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => format!("{} exists; choose another file with --out", file.display()),
        _ => format!("cannot write {}: {error}", file.display()),
    })?;
    let mut out = stdout().lock();
    writeln!(out, "The private key is in {}, which nobody else can read. Sign with it:\n", file.display())?;
    writeln!(out, "  portcullis sign --key {}\n", file.display())?;
    writeln!(out, "Its line for the file that servers get as --policy-keys:\n\n  {}", key.verifier())?;
    Ok(ExitCode::SUCCESS)
}

fn sign(settings: &Sign, key: &Path) -> Result<ExitCode, CommandError> {
    let key = read_key(key)?;
    let file = settings.out.clone().unwrap_or_else(|| policy_files::signature(&settings.routes));
    let policy = PolicyFiles::read(&settings.routes)?;
    let files: Vec<SignedFile> = policy.sources().iter().map(|source| describe(&file, source)).collect();
    let before = read_draft(&file)?;
    let mut draft = match before.filter(|before| continues(settings, before.manifest(), &files)) {
        Some(before) => before,
        None => Draft::new(manifest(settings, &file, files)?),
    };
    draft.sign(&key);
    durable::replace(&file, draft.text().as_bytes())
        .map_err(|error| format!("cannot write {}: {error}", file.display()))?;
    report(&file, &draft, &key)?;
    Ok(ExitCode::SUCCESS)
}

/// Whether the signature file is about these very files, so that another signature joins those in it.
fn continues(settings: &Sign, manifest: &Manifest, files: &[SignedFile]) -> bool {
    let mut files = files.to_vec();
    files.sort_unstable();
    let Sign { revision, not_before, not_after, valid_for, git_commit, .. } = settings;
    let (window, commit) = (manifest.window(), manifest.git_commit());
    manifest.files() == files
        && revision.is_none_or(|revision| revision == manifest.revision())
        && not_before.is_none_or(|moment| moment == window.not_before)
        && not_after.is_none_or(|moment| moment == window.not_after)
        && valid_for.is_none_or(|duration| window.not_before.plus(duration) == window.not_after)
        && git_commit.as_deref().is_none_or(|hash| commit == Some(hash))
}

/// Makes a new manifest, which takes the place of the one in the signature file.
fn manifest(settings: &Sign, file: &Path, files: Vec<SignedFile>) -> Result<Manifest, CommandError> {
    let before = read_draft(file)?.map(|before| before.manifest().revision());
    let revision = settings.revision.unwrap_or_else(|| before.map_or(1, |before| before.saturating_add(1)));
    if let Some(before) = before.filter(|before| revision <= *before) {
        return Err(format!(
            "{} holds revision {before}, and this is another policy: sign it with --revision {} or higher",
            file.display(),
            before.saturating_add(1)
        )
        .into());
    }
    let not_before = settings.not_before.unwrap_or_else(now);
    let valid_for = settings.valid_for.unwrap_or(VALID_FOR);
    let not_after = settings.not_after.unwrap_or_else(|| not_before.plus(valid_for));
    let window = Window { not_before, not_after };
    Ok(Manifest::new(revision, window, settings.git_commit.clone(), files)?)
}

fn describe(signature: &Path, source: &Source) -> SignedFile {
    SignedFile::of(&path_in(signature, Path::new(&source.name)), source.text.as_bytes())
}

fn read_key(file: &Path) -> Result<SigningKey, CommandError> {
    let text = fs::read_to_string(file)
        .map_err(|error| format!("cannot read the key {}: {error}", file.display()))?;
    SigningKey::parse(text.trim()).map_err(|error| format!("{}: {error}", file.display()).into())
}

/// Reads the signature file that is there, if one is.
fn read_draft(file: &Path) -> Result<Option<Draft>, CommandError> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot read {}: {error}", file.display()).into()),
    };
    let draft = Draft::parse(&bytes)
        .map_err(|error| format!("{}: {}; remove it to sign anew", file.display(), with_causes(&error)))?;
    Ok(Some(draft))
}

fn report(file: &Path, draft: &Draft, key: &SigningKey) -> io::Result<()> {
    let manifest = draft.manifest();
    let Window { not_before, not_after } = manifest.window();
    let mut out = stdout().lock();
    writeln!(
        out,
        "{}: revision {}, signed by {}",
        file.display(),
        manifest.revision(),
        key.verifier().label()
    )?;
    writeln!(out, "  holds       from {not_before} until {not_after}")?;
    if let Some(commit) = manifest.git_commit() {
        writeln!(out, "  commit      {commit}")?;
    }
    for SignedFile { path, sha256, size_bytes } in manifest.files() {
        writeln!(out, "  file        {path}, {size_bytes} bytes, sha256 {sha256}")?;
    }
    writeln!(out, "  signatures  {}", draft.signature_count())
}
