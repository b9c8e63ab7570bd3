//! The process that opens connections, and does nothing else.
//!
//! It ends when nobody holds the other end of the line to the gateway any more: neither the supervisor, nor a gateway that
//! is finishing its calls after the supervisor has gone. It reads the policy and the list of revocations itself, with the
//! same keys as the gateway; the gateway only says which policy is meant. It has no listener, no model and no word of a
//! call.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use audit::{ControlEvent, Process};
use egress::{CloseReason, Policies};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use policy::{Policy, Revocations};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::lifeline::{Inheritance, Lifeline};
use super::{Role, kept_policy, way};
use crate::cli::Serve;
use crate::command::CommandError;
use crate::error::with_causes;
use crate::overlay::File;
use crate::policy_files::PolicyFiles;
use crate::signed::{self, SignedBy};
use crate::witness;

/// Policies before the present one to which a gateway may go back, when the next one could not be put on record.
const POLICIES_BEFORE: usize = 2;

/// How long the last records may take to become durable.
const CLOSE_WAIT_MAX: Duration = Duration::from_secs(5);

/// Runs until nobody is left to ask.
pub(crate) fn run(
    settings: &Serve,
    inheritance: Inheritance,
    lifeline: OwnedFd,
) -> Result<ExitCode, CommandError> {
    super::supervisor::harden();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(settings, inheritance, lifeline))
}

async fn serve(
    settings: &Serve,
    Inheritance { listeners, line }: Inheritance,
    lifeline: OwnedFd,
) -> Result<ExitCode, CommandError> {
    // It ends after the gateway, and not when a terminal signals all of them.
    let _ignored =
        [signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?, signal(SignalKind::hangup())?];
    let lifeline = Lifeline::new(lifeline)?;
    let line = line.ok_or("a broker needs a line to the gateway")?;
    let policy = Arc::new(first_policy(&own(settings))?);
    let mut file = File::of(settings);
    let revocations = watch::Sender::new(Arc::new(file.first()?));
    let own_addresses = listeners.addresses()?.all();
    // Only the gateway accepts; here, the listeners were needed for their addresses.
    drop(listeners);
    let (direct, trail) = way::direct(settings, own_addresses, Arc::clone(&policy), &revocations)?;
    let process = Process { role: Role::Broker.as_str().into(), pid: std::process::id() };
    trail.note(&ControlEvent::ProcessStart(process));
    let digest = policy.digest().to_string();
    let policies =
        Arc::new(Shelf { settings: settings.clone(), before: Mutex::new(VecDeque::from([policy])) });
    lifeline.ready().await?;
    tokio::select! {
        served = egress::serve_broker(line, Arc::clone(&direct), digest, policies) => served?,
        () = watch_list(file, &revocations) => {}
    }
    direct.end_all(CloseReason::Shutdown);
    tokio::time::timeout(CLOSE_WAIT_MAX, trail.close()).await??;
    Ok(ExitCode::SUCCESS)
}

/// The policy of the files; or, where they are not in order, the one that was accepted before.
fn first_policy(own: &Serve) -> Result<Policy, CommandError> {
    let mistake = match signed::read_files(own) {
        Ok(read) => return Ok(accept(own, read)?),
        Err(mistake) => mistake,
    };
    // Said by the gateway, if it has to start with those files too: nothing starts with this policy alone.
    let Ok((policy, _)) = kept_policy::read(own) else { return Err(mistake) };
    tracing::warn!(digest = %policy.digest(), "the policy's files are not in order; going on with the one accepted last");
    Ok(policy)
}

/// Keeps a policy, and the revision of a signed one, so that no older one follows it here, whatever the gateway remembers.
fn accept(
    own: &Serve,
    (files, policy, signed): (PolicyFiles, Policy, Option<SignedBy>),
) -> std::io::Result<Policy> {
    if let Some(signed) = &signed {
        signed::remember(own, signed)?;
    }
    kept_policy::keep(own, &files)?;
    Ok(policy)
}

/// The settings, with a folder that the gateway cannot write.
fn own(settings: &Serve) -> Serve {
    Serve { data_dir: settings.data_dir.join(witness::FOLDER), ..settings.clone() }
}

/// Keeps the list of revocations up to date. A list that is wrong changes nothing; the gateway reports it.
async fn watch_list(mut file: File, revocations: &watch::Sender<Arc<Revocations>>) {
    let mut ticks = tokio::time::interval(crate::overlay::POLL_MAX);
    loop {
        ticks.tick().await;
        // In a statement of its own: what is borrowed in the head of a `match` is held to its end, and sending waits for
        // that forever.
        let known = Arc::clone(&revocations.borrow());
        match file.news(&known) {
            Ok(Some(list)) => {
                tracing::warn!(entries = list.len(), "another list of revocations is in force");
                revocations.send_replace(Arc::new(list));
            }
            Ok(None) => {}
            Err(failure) => tracing::debug!(reason = failure.message, "the list of revocations is not taken"),
        }
    }
}

/// The policies that this process has read itself.
struct Shelf {
    settings: Serve,
    /// The one in force is the last.
    before: Mutex<VecDeque<Arc<Policy>>>,
}

impl Shelf {
    fn known(&self, digest: &str) -> Option<Arc<Policy>> {
        let before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        before.iter().find(|policy| policy.digest().to_string() == digest).cloned()
    }

    fn put(&self, policy: &Arc<Policy>) {
        let mut before = self.before.lock().unwrap_or_else(PoisonError::into_inner);
        before.push_back(Arc::clone(policy));
        if before.len() > POLICIES_BEFORE + 1 {
            before.pop_front();
        }
    }
}

/// Reads the policy with that digest: that of the files, or the one that was accepted last.
fn read_one(own: &Serve, digest: &str) -> Result<Policy, String> {
    let is_meant = |policy: &Policy| policy.digest().to_string() == digest;
    let other = match signed::read_files(own) {
        Ok(read) if is_meant(&read.1) => return accept(own, read).map_err(|error| with_causes(&error)),
        Ok((_, policy, _)) => format!("its files hold another policy, {}", policy.digest()),
        Err(error) => with_causes(&*error),
    };
    match kept_policy::read(own) {
        Ok((policy, _)) if is_meant(&policy) => Ok(policy),
        _ => Err(other),
    }
}

impl Policies for Shelf {
    fn read<'a>(&'a self, digest: &'a str) -> BoxFuture<'a, Result<Arc<Policy>, String>> {
        async move {
            if let Some(policy) = self.known(digest) {
                return Ok(policy);
            }
            let (own, meant) = (own(&self.settings), digest.to_owned());
            let read = tokio::task::spawn_blocking(move || read_one(&own, &meant)).await;
            let policy = Arc::new(read.map_err(|error| error.to_string())??);
            self.put(&policy);
            Ok(policy)
        }
        .boxed()
    }
}
