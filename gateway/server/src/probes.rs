//! Sends the probes of health that are due, for as long as the process serves.
//!
//! `routing` says who is to be asked when and what an answer means; egress decides about each as about a call. What is
//! here is the waiting, and what a good answer is: any status below 400.

use std::sync::Arc;
use std::time::Duration;

use policy::{Policy, Provider, ProviderName};
use routing::Probed;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::active::Active;
use crate::app::App;

/// How long an answer may take, whatever the provider's own times are.
const PROBE_WAIT_MAX: Duration = Duration::from_secs(5);

/// How long nothing is due where nothing is probed; a new policy is noticed at once.
const NOTHING_DUE: Duration = Duration::from_secs(3600);

/// Takes every policy over as it comes into force, and probes what it wants probed. Never returns.
pub(crate) async fn run(app: Arc<App>) {
    let mut generations = app.generations.subscribe();
    let mut running = JoinSet::new();
    app.router.adopt(&app.active().policy);
    loop {
        let next = app.router.routes().next_due();
        let wait = next.map_or(NOTHING_DUE, |due| due.saturating_sub(app.router.now()));
        // One that is on its way has no next time yet, so its end is waited for too.
        tokio::select! {
            changed = generations.changed() => match changed {
                Ok(()) => app.router.adopt(&app.active().policy),
                Err(_) => return,
            },
            Some(_) = running.join_next() => {}
            () = sleep(wait) => send_due(&app, &mut running),
        }
    }
}

fn send_due(app: &Arc<App>, running: &mut JoinSet<()>) {
    for name in app.router.routes().take_due(app.router.now()) {
        let (app, active) = (Arc::clone(app), app.active());
        running.spawn(async move {
            let probed = probe(&active, &name).await;
            app.router.routes().probed(&name, probed, app.router.now());
        });
    }
}

async fn probe(active: &Active, name: &str) -> Probed {
    // A provider that is gone with the last policy gets its last result, which nobody waits for.
    let Some((provider, path)) = wanted(&active.policy, name) else { return Probed::Passed };
    match timeout(PROBE_WAIT_MAX, active.egress.probe(provider, path)).await {
        Ok(Ok(status)) if status.as_u16() < 400 => Probed::Passed,
        Ok(Ok(status)) => {
            tracing::debug!(provider = name, status = status.as_u16(), "a probe failed");
            Probed::Failed
        }
        Ok(Err(error)) => {
            tracing::debug!(provider = name, code = error.code(), "a probe failed");
            Probed::Failed
        }
        Err(_) => Probed::Failed,
    }
}

fn wanted<'a>(policy: &'a Policy, name: &str) -> Option<(&'a ProviderName, &'a str)> {
    policy.providers().find_map(|provider| match provider {
        Provider::Http(destination) if destination.provider().as_ref() == name => {
            Some((destination.provider(), destination.health()?.path.as_str()))
        }
        _ => None,
    })
}
