//! `portcullis models pull`: a model from a hub into a plain folder, pinned to a commit and a digest.
//!
//! The manifest is taken away first and written last: a folder with one was complete at that moment.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use hub::{Access, Client, Event, HubError, Options, Reference, RemoteFile, Snapshot, Token};
use policy::Digest;
use tokio::signal::unix::{SignalKind, signal};

use super::CommandError;
use super::choice::{Choice, choose};
use crate::checkpoint::{Entry, Manifest, ModelFiles, Origin};
use crate::cli::Pull;
use crate::error::with_causes;
use crate::progress::{Progress, log_to_stderr, readable};

/// Exit code of a command that was interrupted, as shells have it.
const INTERRUPTED: u8 = 130;
/// What is left free on a disk, so that a download does not take the last of it from everybody else.
const SPARE_BYTES: u64 = 64 << 20;

pub(super) fn run(settings: Pull) -> Result<ExitCode, CommandError> {
    log_to_stderr();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let work = tokio::task::spawn_blocking(move || pull(&settings));
        tokio::select! {
            done = work => done?,
            _ = interrupt.recv() => Ok(ExitCode::from(INTERRUPTED)),
            _ = terminate.recv() => Ok(ExitCode::from(INTERRUPTED)),
        }
    });
    // The thread may be in the middle of a file. What it has written so far is a beginning, wherever it ends.
    runtime.shutdown_background();
    if matches!(&result, Ok(code) if *code == ExitCode::from(INTERRUPTED)) {
        writeln!(io::stderr(), "\nportcullis: stopped; run the command again, it goes on where it was")?;
    }
    result
}

fn pull(settings: &Pull) -> Result<ExitCode, CommandError> {
    let reference: Reference = settings.model.parse()?;
    let client = client(settings)?;
    let snapshot = client.snapshot(&reference, &mut tell).map_err(|error| explained(&error))?;
    let choice = choose(snapshot.names(), settings.file.as_deref(), &reference.repository())?;
    let folder = settings.to.clone().unwrap_or_else(|| Path::new("models").join(reference.name()));
    let _lock = lock(&folder)?;
    let model = choice.model_path(&folder);
    refuse_others(&model, &choice)?;
    let files = choice.names.iter().map(|name| client.describe(&snapshot, name, &mut tell));
    let files: Vec<RemoteFile> = files.collect::<Result<_, _>>().map_err(|error| explained(&error))?;
    check_room(&files, &folder)?;
    let entries = load(&client, &snapshot, &files, &Target { folder: &folder, model: &model })?;
    let origin = Origin {
        endpoint: settings.endpoint.clone(),
        repository: reference.repository(),
        revision: reference.revision().to_owned(),
        commit: snapshot.commit().to_owned(),
    };
    let manifest = Manifest { origin, entries };
    manifest.write(ModelFiles::at(&model)?.manifest_path())?;
    report(&manifest, &model, reference.name())?;
    Ok(ExitCode::SUCCESS)
}

/// Where a model goes.
struct Target<'a> {
    folder: &'a Path,
    /// What `path` in the policy will be: the folder, or a file in it.
    model: &'a Path,
}

fn client(settings: &Pull) -> Result<Client, CommandError> {
    let access = Access::new(&settings.endpoint, token(settings)?)?;
    let options = Options {
        access,
        proxy: settings.proxy.clone(),
        ca_file: settings.ca_file.clone(),
        pause: Arc::new(std::thread::sleep),
    };
    Ok(Client::new(options)?)
}

/// The token from where the hub's own tools look for it, in their order.
fn token(settings: &Pull) -> Result<Option<Token>, CommandError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a secret has no flag: every process can read command lines"
    )]
    let (token, home) = (std::env::var("HF_TOKEN"), std::env::var_os("HF_HOME"));
    if let Ok(token) = token {
        let token = token.trim();
        // An empty variable is how people switch one off.
        return if token.is_empty() {
            Ok(None)
        } else {
            Ok(Some(Token::new(token).map_err(named("HF_TOKEN"))?))
        };
    }
    if let Some(file) = &settings.token_file {
        let text = fs::read_to_string(file)
            .map_err(|error| format!("cannot read the token file {}: {error}", file.display()))?;
        return Ok(Some(Token::new(&text).map_err(named(&file.display().to_string()))?));
    }
    let below_user = || std::env::home_dir().map(|home| home.join(".cache/huggingface"));
    Ok(home.map(PathBuf::from).or_else(below_user).and_then(|home| Token::of_home(&home)))
}

fn named(place: &str) -> impl Fn(hub::TokenError) -> CommandError {
    move |error| format!("{place}: {error}").into()
}

/// Makes the folder and keeps other pulls out of it; the lock is free when this process ends.
fn lock(folder: &Path) -> Result<File, CommandError> {
    let failed = |error: io::Error| format!("cannot use the folder {}: {error}", folder.display());
    fs::create_dir_all(folder).map_err(failed)?;
    let lock = File::open(folder).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(format!("another `models pull` is writing to {}", folder.display()).into())
        }
        Err(TryLockError::Error(error)) => Err(failed(error).into()),
    }
}

/// Refuses a folder in which something else would become a part of the model.
fn refuse_others(model: &Path, choice: &Choice) -> Result<(), CommandError> {
    // An absent or empty one is what we hope for.
    let Ok(there) = ModelFiles::at(model) else { return Ok(()) };
    let is_other = |name: &&str| !choice.names.iter().any(|chosen| chosen == name);
    let others: Vec<&str> = there.iter().map(|(name, _)| name).filter(is_other).collect();
    if others.is_empty() {
        return Ok(());
    }
    let (folder, others) = (model.display(), others.join(", "));
    Err(format!(
        "{folder} holds files of another model: {others}\n  next: choose another folder with --to, or remove them"
    )
    .into())
}

fn check_room(files: &[RemoteFile], folder: &Path) -> Result<(), CommandError> {
    let missing = Client::missing_bytes(files, folder);
    let free = hub::free_bytes(folder)?;
    if missing == 0 || missing.saturating_add(SPARE_BYTES) <= free {
        return Ok(());
    }
    let (missing, free, folder) = (readable(missing), readable(free), folder.display());
    Err(format!(
        "{missing} are still to be loaded, and {free} are free at {folder}\n  next: free some room, or choose another \
         folder with --to; nothing was loaded"
    )
    .into())
}

/// Loads the files one after the other.
fn load(
    client: &Client,
    snapshot: &Snapshot,
    files: &[RemoteFile],
    target: &Target<'_>,
) -> Result<Vec<Entry>, CommandError> {
    let total = files.iter().map(RemoteFile::size).fold(0, u64::saturating_add);
    let progress = Progress::begin("loading", total);
    let (count, commit) = (files.len(), snapshot.commit());
    progress.say(&format!("loading {count} files, {}, of commit {commit}", readable(total)));
    forget_manifest(target.model)?;
    let mut entries = Vec::with_capacity(files.len());
    for file in files {
        let mut show = Show { progress: &progress, counted: 0 };
        let fetched = client.fetch(snapshot, file, target.folder, &mut |event| show.event(event));
        let sha256 = fetched.map_err(|error| explained(&error))?;
        show.fill(file.size());
        // As the model is seen from its path: a single file has no folders around it.
        let name = if target.folder == target.model { file.name() } else { base_name(file.name()) };
        let entry = Entry { name: name.to_owned(), size: file.size(), sha256: Digest::new(sha256) };
        entries.push(entry);
    }
    Ok(entries)
}

fn base_name(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// From here on the folder is not complete.
fn forget_manifest(model: &Path) -> Result<(), CommandError> {
    let Ok(there) = ModelFiles::at(model) else { return Ok(()) };
    match fs::remove_file(there.manifest_path()) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", there.manifest_path().display()).into())
        }
        _ => Ok(()),
    }
}

/// One file on the progress of all.
struct Show<'a> {
    progress: &'a Progress,
    /// Bytes of this file that the progress has.
    counted: u64,
}

impl Show<'_> {
    fn event(&mut self, event: &Event<'_>) {
        match event {
            Event::Checking { name } => self.progress.part(name),
            Event::Begin { name, from, size } => {
                self.progress.part(name);
                let text = if *from == 0 {
                    format!("{name}: {}", readable(*size))
                } else {
                    format!("{name}: going on at {} of {}", readable(*from), readable(*size))
                };
                self.progress.say(&text);
                self.fill(*from);
            }
            Event::Bytes(bytes) => self.fill(self.counted + bytes),
            Event::Restart => {
                self.progress.say("what was there belongs to another version, and the file begins anew");
                self.progress.take_back(self.counted);
                self.counted = 0;
            }
            Event::Again { error, wait } => self.progress.say(&again(error, wait.as_secs())),
            Event::Done { name } => self.progress.say(&format!("{name}: whole, and what the hub says it is")),
        }
    }

    /// Counts up to so many bytes of the file.
    fn fill(&mut self, bytes: u64) {
        self.progress.advance(bytes.saturating_sub(self.counted));
        self.counted = self.counted.max(bytes);
    }
}

/// Says what happens before there is progress to show.
fn tell(event: &Event<'_>) {
    if let Event::Again { error, wait } = event {
        tracing::info!("{}", again(error, wait.as_secs()));
    }
}

fn again(error: &HubError, seconds: u64) -> String {
    format!("{}; again in {seconds} s", with_causes(error))
}

/// An error with what to do next below it.
fn explained(error: &HubError) -> CommandError {
    let advice = error.advice().map(|advice| format!("\n  next: {}", advice.replace('\n', "\n        ")));
    format!("{}{}", with_causes(error), advice.unwrap_or_default()).into()
}

/// Says what is there now, and what to write into the policy.
fn report(manifest: &Manifest, model: &Path, name: &str) -> io::Result<()> {
    let Manifest { origin, entries } = manifest;
    let bytes = readable(entries.iter().map(|entry| entry.size).sum());
    let (files, place) = (entries.len(), model.display());
    let mut out = stdout().lock();
    writeln!(out, "{} at {}: {files} files, {bytes} in {place}\n", origin.repository, origin.commit)?;
    writeln!(
        out,
        "Its line for `models` in routes.yaml, where `local` is a provider of kind engine, and paths are"
    )?;
    writeln!(out, "relative to that file:\n")?;
    let (name, path, digest) = (policy_name(name), policy_path(model), manifest.digest());
    writeln!(out, "  {name}: {{ provider: local, path: {path}, digest: \"sha256:{digest}\" }}")
}

/// A repository's name as a name in the policy.
fn policy_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' { c.to_ascii_lowercase() } else { '-' };
    name.chars().map(plain).take(63).collect()
}

/// A path as it stands in YAML.
fn policy_path(path: &Path) -> String {
    let text = path.display().to_string();
    let text = if path.is_relative() && !text.starts_with('.') { format!("./{text}") } else { text };
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    // JSON's form of a text is one of YAML's.
    if text.chars().all(is_plain) { text } else { serde_json::Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_is_a_line_of_a_policy() {
        assert_eq!(policy_name("Qwen3-0.6B_Instruct"), "qwen3-0.6b-instruct");
        for name in ["Qwen3-0.6B", &"x".repeat(96), "a_b.c"] {
            assert!(policy::ModelName::new(&policy_name(name)).is_ok(), "{name}");
        }
        assert_eq!(policy_path(Path::new("models/a")), "./models/a");
        assert_eq!(policy_path(Path::new("../a")), "../a");
        assert_eq!(policy_path(Path::new("/srv/a b")), "\"/srv/a b\"");
        assert_eq!(policy_path(Path::new("a: {")), "\"./a: {\"");
    }
}
