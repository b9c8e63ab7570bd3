//! From a policy file to the policy in force, at the start and whenever the file changes.
//!
//! ```text
//! load -> signature -> compile -> tests, if asked for -> build -> broker -> audit (policy.activate, durable) -> swap
//! ```
//!
//! [`prepare`] is that way up to the record. Whatever fails on it changes nothing: the policy before stays in force,
//! and the failure is told in the log, the metrics, `/readyz`, the admin address and, once for each broken state of
//! the files, the audit trail.
//!
//! One task does all of it, one reload at a time. A reload is asked for by a change of the files, by SIGHUP or at the
//! admin address; whoever asks while another one waits gets the same one's outcome.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use audit::{Activation, ControlEvent};
use egress::Way;
use policy::Policy;
use policy::plan::Plan;
use sha2::{Digest as _, Sha256};
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};

use crate::active::{Active, Builder};
use crate::app::App;
use crate::cli::Serve;
use crate::clock;
use crate::command::test as cases;
use crate::error::with_causes;
use crate::policy_files::{self, PolicyFiles};
use crate::signed::{self, SignedBy};

mod outcome;

pub(crate) use outcome::{Failure, Outcome, Stage};

/// Broken states of the files that are remembered, so that each is on record once.
const REJECTED_MAX: usize = 1024;

/// Names of parts that a summary lists before it only counts.
const NAMES_SHOWN_MAX: usize = 8;

/// Where generations come from.
pub(crate) struct Origin {
    pub(crate) settings: Serve,
    pub(crate) builder: Builder,
}

/// What [`prepare`] found.
struct Prepared {
    /// A generation that only has to be recorded and put in force; nothing if its policy is in force already, perhaps
    /// in other words.
    next: Option<Active>,
    /// What changes with it.
    summary: String,
    signed: Option<SignedBy>,
}

/// Makes a generation of the files: every step up to its record, in order. Blocks while models are loaded.
///
/// `before` is the generation in force, of which everything is kept that is still the same.
fn prepare(origin: &Origin, before: Option<&Active>) -> Result<Prepared, Failure> {
    let files = PolicyFiles::read(&origin.settings.routes)
        .map_err(|error| Failure::new(Stage::Load, None, with_causes(&*error)))?;
    let digest = files.digest();
    let failure = |stage, message: String| Failure::new(stage, Some(digest.clone()), message);
    let signed = signed::verify_sources(&origin.settings, files.sources(), clock::now())
        .map_err(|refused| failure(Stage::Signature, with_causes(&refused)))?;
    let policy = files.compile().map_err(|errors| failure(Stage::Compile, errors.to_string()))?;
    policy.warnings().iter().for_each(|warning| tracing::warn!("{warning}"));
    if origin.settings.require_tests {
        cases::require(&origin.settings.routes, &policy)
            .map_err(|error| failure(Stage::Tests, with_causes(&*error)))?;
    }
    if before.is_some_and(|before| before.policy.digest() == policy.digest()) {
        return Ok(Prepared { next: None, summary: String::new(), signed });
    }
    let summary = before.map_or_else(String::new, |before| summary(&before.policy, &policy));
    let built = origin.builder.build(policy, files.name().to_owned(), before);
    let built = built.map_err(|error| failure(Stage::Build, with_causes(&*error)))?;
    Ok(Prepared { next: Some(built), summary, signed })
}

/// Records that a generation is about to take effect, and what it was signed as; it may take effect only after that.
async fn record(
    origin: &Origin,
    audit: &audit::Log,
    (next, signed): (&Active, Option<&SignedBy>),
    change: Option<(&Active, &str)>,
) -> Result<(), Failure> {
    let activation = Activation {
        digest: next.policy.digest().to_string().into(),
        old_digest: change.map(|(before, _)| before.policy.digest().to_string().into()),
        source: next.source.as_str().into(),
        signature: signed.map(|signed| signature_text(signed).into()),
        summary: change.map(|(_, summary)| summary.into()),
    };
    let noted = audit.note(ControlEvent::PolicyActivate(activation)).await;
    noted.map_err(|error| Failure::new(Stage::Audit, None, with_causes(&error)))?;
    remember(origin, signed)
}

/// Has connections decided by a policy, before any call is.
async fn adopt(way: &Arc<dyn Way>, policy: &Arc<Policy>) -> Result<(), Failure> {
    let adopted = way.adopt(policy).await;
    adopted.map_err(|error| Failure::new(Stage::Broker, None, with_causes(&error)))
}

/// Keeps the revision of a signed policy, so that no older one follows it.
fn remember(origin: &Origin, signed: Option<&SignedBy>) -> Result<(), Failure> {
    let kept = signed.map_or(Ok(()), |signed| signed::remember(&origin.settings, signed));
    kept.map_err(|error| Failure::new(Stage::Signature, None, with_causes(&error)))
}

fn signature_text(signed: &SignedBy) -> String {
    let verified = &signed.verified;
    let back = signed.rolled_back_from.map(|before| format!(", back from {before}")).unwrap_or_default();
    format!("revision {}{back} by {}", verified.manifest.revision(), verified.signers.join(", "))
}

/// Makes the generation with which a process starts, and records it. Returns the state of the files before, too.
pub(crate) async fn first(origin: &Arc<Origin>, audit: &audit::Log) -> Result<(Active, String), Failure> {
    let state = state_of(origin).await;
    let builder = Arc::clone(origin);
    let prepared = tokio::task::spawn_blocking(move || prepare(&builder, None)).await;
    let Prepared { next, signed, .. } = prepared.map_err(panicked)??;
    let next = next.ok_or_else(|| Failure::new(Stage::Build, None, "nothing was built"))?;
    adopt(origin.builder.way(), &next.policy).await?;
    record(origin, audit, (&next, signed.as_ref()), None).await?;
    Ok((next, state))
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that `map_err` wants")]
fn panicked(error: tokio::task::JoinError) -> Failure {
    Failure::new(Stage::Build, None, with_causes(&error))
}

/// Somebody who wants a reload, and to know what came of it.
pub(crate) type Asked = oneshot::Sender<Outcome>;

/// How often and how fast.
#[derive(Clone, Copy)]
pub(crate) struct Pace {
    /// Between two looks at the files.
    pub(crate) poll: Duration,
    /// At least between the beginnings of two reloads.
    pub(crate) spacing: Duration,
}

/// The task that reloads.
pub(crate) struct Reloader {
    app: Arc<App>,
    origin: Arc<Origin>,
    pace: Pace,
    /// The state of the files at the last reload.
    tried: String,
    rejected: BTreeSet<(Stage, Option<String>, String)>,
    last: Option<Instant>,
}

impl Reloader {
    /// Makes the task of a process whose first generation came from the files of `origin` in the state `tried`.
    pub(crate) fn new(app: Arc<App>, origin: Arc<Origin>, pace: Pace, tried: String) -> Self {
        Self { app, origin, pace, tried, rejected: BTreeSet::new(), last: None }
    }

    /// Reloads when there is reason to, until nobody can ask any more.
    pub(crate) async fn run(mut self, mut asked: mpsc::Receiver<Asked>, mut hangup: Signal) {
        let mut ticks = tokio::time::interval_at(Instant::now() + self.pace.poll, self.pace.poll);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let mut waiting = Vec::new();
            tokio::select! {
                next = asked.recv() => match next {
                    Some(next) => waiting.push(next),
                    None => return,
                },
                _ = hangup.recv() => tracing::info!("SIGHUP: reloading the policy"),
                _ = ticks.tick() => if !self.has_news().await { continue },
            }
            if let Some(last) = self.last {
                tokio::time::sleep_until(last + self.pace.spacing).await;
            }
            // Everybody who has asked by now means the files as they are now.
            while let Ok(next) = asked.try_recv() {
                waiting.push(next);
            }
            self.last = Some(Instant::now());
            let outcome = self.reload().await;
            // Whoever asked may have gone.
            for waiting in waiting {
                drop(waiting.send(outcome.clone()));
            }
        }
    }

    /// Whether the files are other ones than at the last reload.
    async fn has_news(&self) -> bool {
        self.tried != state_of(&self.origin).await
    }

    async fn reload(&mut self) -> Outcome {
        self.tried = state_of(&self.origin).await;
        let outcome = match self.attempt().await {
            Ok(outcome) => {
                self.app.fail(|failing| failing.policy = None);
                outcome
            }
            Err(failure) => {
                self.reject(&failure).await;
                self.app.fail(|failing| failing.policy = Some(failure.clone()));
                let digest = self.app.active().policy.digest().to_string();
                Outcome::Rejected { digest, failure }
            }
        };
        self.app.metrics.reloads.with_label_values(&[outcome.as_str()]).inc();
        outcome
    }

    async fn attempt(&self) -> Result<Outcome, Failure> {
        let before = self.app.active();
        let (origin, base) = (Arc::clone(&self.origin), Arc::clone(&before));
        let prepared = tokio::task::spawn_blocking(move || prepare(&origin, Some(&base))).await;
        let Prepared { next, summary, signed } = prepared.map_err(panicked)??;
        let Some(next) = next else {
            remember(&self.origin, signed.as_ref())?;
            return Ok(Outcome::Unchanged { digest: before.policy.digest().to_string() });
        };
        let change = Some((&*before, summary.as_str()));
        let way = self.origin.builder.way();
        adopt(way, &next.policy).await?;
        if let Err(failure) = record(&self.origin, &self.app.audit, (&next, signed.as_ref()), change).await {
            // What is not on record does not take effect, on either side.
            adopt(way, &before.policy).await?;
            return Err(failure);
        }
        let outcome = Outcome::Activated {
            digest: next.policy.digest().to_string(),
            old_digest: before.policy.digest().to_string(),
            summary,
        };
        tracing::info!(digest = %next.policy.digest(), "another policy is in force");
        let next = Arc::new(next);
        self.app.generations.send_replace(Arc::clone(&next));
        before.give_way_to(&next);
        // Nobody waits for it: what it finds shows where everybody looks.
        let app = Arc::clone(&self.app);
        tokio::spawn(async move {
            if let Err(error) = app.try_seal().await {
                tracing::error!(%error, "a self-test of the seal is not on record");
            }
        });
        Ok(outcome)
    }

    /// Counts and tells a failure; once on record for each broken state of the files.
    async fn reject(&mut self, failure: &Failure) {
        let stage = failure.stage.as_str();
        self.app.metrics.reload_failures.with_label_values(&[stage]).inc();
        let (at, digest, message) = failure.key();
        if self.rejected.len() >= REJECTED_MAX {
            self.rejected.clear();
        }
        if !self.rejected.insert((at, digest.map(str::to_owned), message.to_owned())) {
            return;
        }
        tracing::error!(stage, reason = failure.message, "the policy was not reloaded; the one before stays");
        let event = ControlEvent::PolicyReject {
            digest: failure.digest.as_deref().map(Into::into),
            stage: stage.into(),
            message: failure.message.as_str().into(),
        };
        if let Err(error) = self.app.audit.note(event).await {
            tracing::error!(%error, "a policy that was not taken is not on record");
        }
    }
}

/// The SHA-256 of a text, in hex.
pub(crate) fn digest_of(text: &[u8]) -> String {
    policy::Digest::new(Sha256::digest(text).into()).to_string()
}

/// What tells one state of the files from another: a digest over the policy and what is asked of it (signature, keys,
/// cases), or why it cannot be read.
async fn state_of(origin: &Arc<Origin>) -> String {
    let origin = Arc::clone(origin);
    let reading = tokio::task::spawn_blocking(move || match PolicyFiles::read(&origin.settings.routes) {
        Ok(files) => {
            let Serve { routes, policy_keys, require_tests, .. } = &origin.settings;
            let cases =
                if *require_tests { policy_files::cases(routes).unwrap_or_default() } else { Vec::new() };
            let asked = [policy_files::signature(routes)].into_iter().chain(policy_keys.clone()).chain(cases);
            // One that is missing counts as empty: that it is missing is for the reload to say.
            let texts = asked.map(|file| std::fs::read(file).unwrap_or_default());
            digest_of(
                &[files.digest().into_bytes()].into_iter().chain(texts).collect::<Vec<_>>().join(&b'\0'),
            )
        }
        Err(error) => with_causes(&*error),
    });
    reading.await.unwrap_or_default()
}

/// Says in short what changes: whether any call may go further than before, and which parts come and go, by name.
fn summary(old: &Policy, new: &Policy) -> String {
    let workflows = |policy: &Policy| -> BTreeSet<String> {
        policy.workflows().map(|workflow| workflow.name().to_string()).collect()
    };
    let models = |policy: &Policy| -> BTreeSet<String> {
        policy.models().map(|model| model.name().to_string()).collect()
    };
    let providers = |policy: &Policy| -> BTreeSet<String> {
        policy.providers().map(|provider| provider.name().to_string()).collect()
    };
    let changes = [
        ("workflows", workflows(old), workflows(new)),
        ("models", models(old), models(new)),
        ("providers", providers(old), providers(new)),
    ];
    let changes = changes.iter().filter_map(|(what, old, new)| {
        let come = new.difference(old).map(|name| format!("+{name}"));
        let names: Vec<String> = come.chain(old.difference(new).map(|name| format!("-{name}"))).collect();
        let more = names.len().saturating_sub(NAMES_SHOWN_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let shown = names.iter().take(NAMES_SHOWN_MAX).map(String::as_str).collect::<Vec<_>>().join(" ");
        (!names.is_empty()).then(|| format!("{what} {shown}{more}"))
    });
    let changes: Vec<String> = changes.collect();
    let widens = if Plan::between(old, new).widens() { "reach widens" } else { "nothing widens" };
    if changes.is_empty() {
        format!("{widens}; other rules for the same parts")
    } else {
        format!("{widens}; {}", changes.join("; "))
    }
}
