//! `portcullis verify`: whether a server with these keys would load this policy now.
//!
//! The revision is shown and not judged: which one was in force before, only the server knows.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use policy::bundle::{Refusal, SignedFile, Situation, Verified, Window};
use serde_json::{Value, json};

use super::{CommandError, print_json};
use crate::clock::now;
use crate::error::with_causes;
use crate::policy_files::{self, PolicyFiles};
use crate::signed::{Refused, check, read_trust};

pub(crate) const HELP: &str = "\
Exit code: 0 valid, 10 not signed, 20 not signed by enough trusted keys, 30 not valid at this time,
40 altered or not a policy's signature, 50 cannot tell.";

/// What to verify, and whose signatures count.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The policy: a file, or a folder of files
    #[arg(default_value = "routes.yaml", value_name = "FILE|DIR")]
    routes: PathBuf,
    /// The keys that are trusted, one on each line, as `portcullis sign keygen` prints them
    #[arg(long, env = "PORTCULLIS_POLICY_KEYS", value_name = "FILE")]
    policy_keys: PathBuf,
    /// How many of them must have signed
    #[arg(long, env = "PORTCULLIS_POLICY_THRESHOLD", default_value_t = 1, value_name = "N")]
    threshold: usize,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
}

const VALID: u8 = 0;
const UNSIGNED: u8 = 10;
const SIGNERS: u8 = 20;
const TIME: u8 = 30;
const ALTERED: u8 = 40;
const CANNOT_TELL: u8 = 50;

pub(super) fn run(settings: &Verify) -> Result<ExitCode, CommandError> {
    let verdict = judge(settings);
    let code = match &verdict {
        Ok(Ok(_)) => VALID,
        Ok(Err(refused)) => exit_code(refused),
        Err(_) => CANNOT_TELL,
    };
    let mut out = stdout().lock();
    if settings.json {
        print_json(&mut out, &in_json(&verdict))?;
        return Ok(ExitCode::from(code));
    }
    let file = settings.routes.display();
    match verdict {
        Ok(Ok(verified)) => print(&mut out, &settings.routes, &verified)?,
        Ok(Err(Refused::Signature(refusal))) => {
            writeln!(out, "{file} is refused ({}): {refusal}", refusal.code())?;
        }
        Ok(Err(other)) => writeln!(out, "cannot verify {file}: {}", with_causes(&other))?,
        Err(error) => writeln!(out, "cannot verify {file}: {}", with_causes(&*error))?,
    }
    Ok(ExitCode::from(code))
}

fn judge(settings: &Verify) -> Result<Result<Verified, Refused>, CommandError> {
    let files = PolicyFiles::read(&settings.routes)?;
    let trust = match read_trust(&settings.policy_keys, settings.threshold) {
        Ok(trust) => trust,
        Err(refused) => return Ok(Err(refused)),
    };
    let situation = Situation { trust: &trust, now: now(), highest: None };
    Ok(check(&settings.routes, files.sources(), &situation))
}

fn exit_code(refused: &Refused) -> u8 {
    let Refused::Signature(refusal) = refused else { return CANNOT_TELL };
    match refusal {
        Refusal::Unsigned => UNSIGNED,
        Refusal::UnknownKey(_) | Refusal::Threshold { .. } => SIGNERS,
        Refusal::NotYetValid(_) | Refusal::Expired(_) | Refusal::RolledBack { .. } | Refusal::Reused(_) => {
            TIME
        }
        Refusal::Malformed(_)
        | Refusal::Schema
        | Refusal::BadSignature(_)
        | Refusal::FileChanged(_)
        | Refusal::FileMissing(_)
        | Refusal::FileExtra(_) => ALTERED,
    }
}

fn print(out: &mut impl Write, file: &Path, verified: &Verified) -> std::io::Result<()> {
    let Verified { manifest, signers, .. } = verified;
    let Window { not_before, not_after } = manifest.window();
    writeln!(out, "{} is what was signed: revision {}", file.display(), manifest.revision())?;
    writeln!(out, "  signature   {}", policy_files::signature(file).display())?;
    writeln!(out, "  signed by   {}", signers.join(", "))?;
    writeln!(out, "  holds       from {not_before} until {not_after}")?;
    if let Some(commit) = manifest.git_commit() {
        writeln!(out, "  commit      {commit}")?;
    }
    for SignedFile { path, size_bytes, .. } in manifest.files() {
        writeln!(out, "  file        {path}, {size_bytes} bytes")?;
    }
    Ok(())
}

fn in_json(verdict: &Result<Result<Verified, Refused>, CommandError>) -> Value {
    match verdict {
        Ok(Ok(Verified { manifest, signers, accepted })) => {
            let files = manifest.files().iter().map(|SignedFile { path, sha256, size_bytes }| {
                json!({ "path": path, "sha256": sha256.to_string(), "size_bytes": size_bytes })
            });
            json!({
                "verdict": "valid",
                "revision": manifest.revision(),
                "manifest_sha256": accepted.manifest_sha256.to_string(),
                "signers": signers,
                "not_before": manifest.window().not_before.to_string(),
                "not_after": manifest.window().not_after.to_string(),
                "git_commit": manifest.git_commit(),
                "files": files.collect::<Value>(),
            })
        }
        Ok(Err(Refused::Signature(refusal))) => {
            json!({ "verdict": "refused", "code": refusal.code(), "message": refusal.to_string() })
        }
        Ok(Err(other)) => {
            json!({ "verdict": "unknown", "code": other.code(), "message": with_causes(other) })
        }
        Err(error) => json!({ "verdict": "unknown", "code": "unreadable", "message": with_causes(&**error) }),
    }
}
