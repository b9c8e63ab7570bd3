//! Keeps the list of revocations in force up to date with its file, apart from everything about the policy.
//!
//! A new list acts before it is on record: it can only deny. A file that is wrong, or gone after it was there, changes
//! nothing, and every place where somebody may look says so. What a list does to calls is in `revoked`.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use audit::ControlEvent;
use policy::{Revocations, Source};
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::MissedTickBehavior;

use crate::app::App;
use crate::cli::Serve;
use crate::command::CommandError;
use crate::policy_files;
use crate::reload::{Failure, Stage, digest_of};

/// The longest time between two looks at the file: what is revoked has to act within a second.
pub(crate) const POLL_MAX: Duration = Duration::from_millis(500);

/// Somebody who wants the file to be read, and to know what came of it.
pub(crate) type Asked = oneshot::Sender<Result<(), Failure>>;

/// The list's file.
pub(crate) struct File {
    path: PathBuf,
    /// Whether it has to be there. One that nobody named may appear later, and must not disappear then.
    is_expected: bool,
}

impl File {
    /// Finds the file that the settings mean.
    pub(crate) fn of(settings: &Serve) -> Self {
        if let Some(path) = &settings.revocations {
            return Self { path: path.clone(), is_expected: true };
        }
        let path = policy_files::folder(&settings.routes).join(policy_files::REVOCATIONS);
        Self { path, is_expected: false }
    }

    /// Reads the list with which a process starts. Without an earlier one to go on with, it has to be right.
    pub(crate) fn first(&mut self) -> Result<Revocations, CommandError> {
        let read = self.read().and_then(|text| self.parse(text));
        let list =
            read.map_err(|failure| format!("the list of revocations is not valid\n{}", failure.message))?;
        if !list.is_empty() {
            tracing::warn!(file = %self.path.display(), entries = list.len(), "revocations are in force");
        }
        Ok(list)
    }

    /// The list, if it is another one than `known`.
    pub(crate) fn news(&mut self, known: &Revocations) -> Result<Option<Revocations>, Failure> {
        let list = self.read().and_then(|text| self.parse(text))?;
        Ok((list.digest() != known.digest()).then_some(list))
    }

    /// The text; nothing if there is no file and need not be.
    fn read(&mut self) -> Result<Option<String>, Failure> {
        match std::fs::read_to_string(&self.path) {
            Ok(text) => {
                self.is_expected = true;
                Ok(Some(text))
            }
            Err(error) if error.kind() == ErrorKind::NotFound && !self.is_expected => Ok(None),
            Err(error) => {
                let message = format!("cannot read {}: {error}", self.path.display());
                Err(Failure::new(Stage::Load, None, message))
            }
        }
    }

    fn parse(&self, text: Option<String>) -> Result<Revocations, Failure> {
        let Some(text) = text else { return Ok(Revocations::none()) };
        let digest = digest_of(text.as_bytes());
        let source = Source { name: self.path.display().to_string(), text };
        Revocations::parse(&source)
            .map_err(|errors| Failure::new(Stage::Compile, Some(digest), errors.to_string()))
    }
}

/// Reads the file again and again, and when asked, for as long as the process runs.
pub(crate) struct Overlay {
    pub(crate) app: Arc<App>,
    pub(crate) file: File,
    pub(crate) poll: Duration,
}

impl Overlay {
    /// Watches the file until nobody can ask any more.
    pub(crate) async fn run(mut self, mut asked: mpsc::Receiver<Asked>, mut hangup: Signal) {
        let mut ticks = tokio::time::interval(self.poll.min(POLL_MAX));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let waiting = tokio::select! {
                next = asked.recv() => match next {
                    Some(waiting) => Some(waiting),
                    None => return,
                },
                _ = hangup.recv() => None,
                _ = ticks.tick() => None,
            };
            let outcome = self.refresh().await;
            if let Some(waiting) = waiting {
                // Whoever asked may have gone.
                let _ = waiting.send(outcome);
            }
        }
    }

    async fn refresh(&mut self) -> Result<(), Failure> {
        let known = self.app.failing().revocations;
        let news = self.file.news(&self.app.revocations.borrow().clone());
        match news.map(|list| list.map(|list| self.take(list))) {
            Ok(None) => self.settle(None),
            Ok(Some(event)) => {
                self.settle(None);
                // Denying does not wait for the disk.
                if let Err(error) = self.app.audit.note(event).await {
                    tracing::error!(%error, "a list of revocations is in force and not on record");
                }
            }
            Err(failure) => {
                if known.as_ref().is_none_or(|known| !known.is_same(&failure)) {
                    self.reject(&failure).await;
                }
                self.settle(Some(failure.clone()));
                return Err(failure);
            }
        }
        Ok(())
    }

    /// Puts a list in force.
    fn take(&self, list: Revocations) -> ControlEvent {
        let (digest, entries) = (list.digest().to_string().into(), list.len() as u64);
        tracing::warn!(entries, "a new list of revocations is in force");
        self.app.revocations.send_replace(Arc::new(list));
        ControlEvent::RevocationsActivate { digest, entries }
    }

    async fn reject(&self, failure: &Failure) {
        tracing::error!(
            reason = failure.message,
            "the list of revocations was not taken; the one before stays"
        );
        self.app.metrics.revocations_failures.inc();
        let digest = failure.digest.as_deref().map(Into::into);
        let event = ControlEvent::RevocationsReject { digest, message: failure.message.as_str().into() };
        if let Err(error) = self.app.audit.note(event).await {
            tracing::error!(%error, "a broken list of revocations is not on record");
        }
    }

    fn settle(&self, failure: Option<Failure>) {
        self.app.fail(|failing| failing.revocations = failure);
    }
}

/// A channel on which the list in force is published.
pub(crate) fn publish(first: Revocations) -> watch::Sender<Arc<Revocations>> {
    watch::Sender::new(Arc::new(first))
}
