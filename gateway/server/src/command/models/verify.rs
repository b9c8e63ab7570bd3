//! `portcullis models verify`: whether models are the files that they should be, and which are not.

use std::fs;
use std::io::{Write, stdout};
use std::path::{MAIN_SEPARATOR, Path, PathBuf};
use std::process::ExitCode;

use policy::Digest;
use serde_json::{Value, json};

use super::{CommandError, Routes, print_json};
use crate::checkpoint::{CheckpointError, Difference, Manifest, ModelFiles, digest, hash};
use crate::cli::Verify;
use crate::error::with_causes;
use crate::progress::{Progress, log_to_stderr, readable};

/// Exit codes, the same as those of `audit verify` where both have a meaning.
const INTACT: u8 = 0;
const UNPINNED: u8 = 10;
const ALTERED: u8 = 40;
const CANNOT_TELL: u8 = 50;

/// A model to look at.
struct Subject {
    /// Its name in the policy, or its path.
    name: String,
    path: PathBuf,
    /// What the policy says that it is.
    pinned: Option<Digest>,
}

/// What was found.
struct Finding {
    subject: Subject,
    state: Result<Found, CheckpointError>,
}

struct Found {
    files: usize,
    bytes: u64,
    digest: Digest,
    manifest: Option<Manifest>,
    /// From what was pulled; nothing is known without a manifest.
    difference: Option<Difference>,
}

pub(super) fn run(settings: &Verify) -> Result<ExitCode, CommandError> {
    log_to_stderr();
    let findings: Vec<Finding> = subjects(settings)?.into_iter().map(Finding::of).collect();
    let mut out = stdout().lock();
    if settings.json {
        print_json(&mut out, &findings.iter().map(Finding::json).collect())?;
    } else {
        for finding in &findings {
            finding.print(&mut out)?;
        }
    }
    let worst = findings.iter().map(Finding::code).max().unwrap_or(INTACT);
    Ok(ExitCode::from(worst))
}

/// The models that are meant.
fn subjects(settings: &Verify) -> Result<Vec<Subject>, CommandError> {
    let Some(wanted) = &settings.model else {
        let routes = Routes::read(&settings.routes)?;
        return Ok(routes.local().map(|(model, path)| Subject::of(model, path)).collect());
    };
    let is_path = wanted.contains(MAIN_SEPARATOR) || wanted == "." || wanted == "..";
    if !is_path && settings.routes.exists() {
        let routes = Routes::read(&settings.routes)?;
        let found = routes.local().find(|(model, _)| model.name().as_str() == wanted);
        if let Some((model, path)) = found {
            return Ok(vec![Subject::of(model, path)]);
        }
        if !Path::new(wanted).exists() {
            let names: Vec<&str> = routes.local().map(|(model, _)| model.name().as_str()).collect();
            let (file, names) = (settings.routes.display(), names.join(", "));
            return Err(format!(
                "{file} has no local model `{wanted}`, and no such path exists; it has {names}"
            )
            .into());
        }
    }
    let path = PathBuf::from(wanted);
    // A path that the policy serves is held to what the policy says of it.
    let pinned = match Routes::read(&settings.routes) {
        Ok(routes) => pinned_at(&routes, &path),
        Err(_) => None,
    };
    Ok(vec![Subject { name: wanted.clone(), path, pinned }])
}

/// The digest of the model that a policy serves from `path`.
fn pinned_at(routes: &Routes, path: &Path) -> Option<Digest> {
    let wanted = fs::canonicalize(path).ok()?;
    let is_there = |path: &Path| fs::canonicalize(path).is_ok_and(|path| path == wanted);
    routes.local().find(|(_, path)| is_there(path)).and_then(|(model, _)| model.weights_digest().copied())
}

impl Subject {
    fn of(model: &policy::Model, path: PathBuf) -> Self {
        Self { name: model.name().to_string(), path, pinned: model.weights_digest().copied() }
    }

    fn look(&self) -> Result<Found, CheckpointError> {
        let files = ModelFiles::at(&self.path)?;
        let progress = Progress::begin_reading(files.bytes());
        progress.part(&self.name);
        let entries = hash(&files, &|bytes| progress.advance(bytes))?;
        drop(progress);
        let manifest = Manifest::read(files.manifest_path())?;
        let difference = manifest.as_ref().map(|manifest| manifest.difference(&entries));
        Ok(Found {
            files: entries.len(),
            bytes: files.bytes(),
            digest: digest(&entries),
            manifest,
            difference,
        })
    }
}

impl Finding {
    fn of(subject: Subject) -> Self {
        let state = subject.look();
        Self { subject, state }
    }

    /// The verdict. What the policy says decides; where it says nothing, what was pulled does.
    fn code(&self) -> u8 {
        let Ok(found) = &self.state else { return CANNOT_TELL };
        match (self.subject.pinned, &found.difference) {
            (Some(pinned), _) => {
                if pinned == found.digest {
                    INTACT
                } else {
                    ALTERED
                }
            }
            (None, Some(difference)) => {
                if difference.is_none() {
                    INTACT
                } else {
                    ALTERED
                }
            }
            (None, None) => UNPINNED,
        }
    }

    fn verdict(&self) -> &'static str {
        match self.code() {
            INTACT => "intact",
            UNPINNED => "unpinned",
            ALTERED => "altered",
            _ => "unknown",
        }
    }

    fn print(&self, out: &mut impl Write) -> std::io::Result<()> {
        let Subject { name, path, pinned } = &self.subject;
        let found = match &self.state {
            Ok(found) => found,
            Err(error) => return writeln!(out, "{name}: cannot tell: {}", with_causes(error)),
        };
        let verdict = self.verdict();
        let (files, size) = (found.files, readable(found.bytes));
        writeln!(out, "{name}: {verdict}, {files} files, {size} in {}", path.display())?;
        writeln!(out, "  digest   sha256:{}", found.digest)?;
        match pinned {
            Some(pinned) if *pinned == found.digest => writeln!(out, "  routes   the same")?,
            Some(pinned) => writeln!(out, "  routes   sha256:{pinned}")?,
            None => writeln!(out, "  routes   names none; add the digest to the model's line to pin it")?,
        }
        match (&found.manifest, &found.difference) {
            (Some(manifest), Some(difference)) => {
                let origin = &manifest.origin;
                let same = if difference.is_none() { "the same, " } else { "" };
                writeln!(out, "  pulled   {same}{} at {}", origin.repository, origin.commit)?;
                for (what, names) in difference.named() {
                    names.iter().try_for_each(|name| writeln!(out, "  {what:8} {name}"))?;
                }
            }
            _ => writeln!(
                out,
                "  pulled   unknown: there is no portcullis-model.json, so no file can be named"
            )?,
        }
        Ok(())
    }

    fn json(&self) -> Value {
        let Subject { name, path, pinned } = &self.subject;
        let shown = |digest: &Digest| format!("sha256:{digest}");
        let mut value = json!({
            "model": name,
            "path": path,
            "verdict": self.verdict(),
            "pinned": pinned.as_ref().map(shown),
        });
        match &self.state {
            Err(error) => value["error"] = json!(with_causes(error)),
            Ok(found) => {
                value["digest"] = json!(shown(&found.digest));
                value["files"] = json!(found.files);
                value["bytes"] = json!(found.bytes);
                value["pulled"] = json!(found.manifest.as_ref().map(|manifest| &manifest.origin));
                for (what, names) in found.difference.iter().flat_map(Difference::named) {
                    value[what] = json!(names);
                }
            }
        }
        value
    }
}
