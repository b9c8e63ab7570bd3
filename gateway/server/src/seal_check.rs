//! Whether the walls hold, found out by trying: at the start, after each reload, and when an operator asks.
//!
//! From inside the process that answers calls, every way out is tried that the kernel should have closed, and the broker
//! is asked for connections that no policy gives. What comes of it is an event of the audit trail for each layer, a
//! metric, and part of readiness: a gateway whose walls do not hold takes no calls.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use audit::{ControlEvent, SealState, Selftest};
use egress::{Ask, DialFailure, Purpose, Way};
use jiff::Timestamp;
use policy::{EgressMode, Locality, Policy, Provider, ProviderName, WorkflowName};
use seal::escapes::{self, Context, Layer, Outcome};
use serde::Serialize;
use tokio::time::Instant;
use url::Host;

/// How long the broker may take to refuse one question.
const REFUSAL_WAIT_MAX: Duration = Duration::from_secs(2);

/// How long it is waited for if it is just being replaced.
const BROKER_WAIT_MAX: Duration = Duration::from_secs(5);

/// Most sealed workflows for which the broker is asked in one round.
const WORKFLOWS_MAX: usize = 64;

/// What one round came to.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) at: String,
    pub(crate) layers: Vec<Tried>,
}

/// One layer, tried.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Tried {
    pub(crate) layer: &'static str,
    pub(crate) state: SealState,
    #[serde(rename = "tried")]
    pub(crate) attempts: u64,
    /// What succeeded and should not have.
    pub(crate) escapes: Vec<String>,
}

impl Report {
    /// Whether nothing got out. A layer that is not there is no hole in it.
    pub(crate) fn holds(&self) -> bool {
        self.layers.iter().all(|tried| tried.state != SealState::Broken)
    }

    /// Everything that got out.
    pub(crate) fn escapes(&self) -> Vec<&str> {
        self.layers.iter().flat_map(|tried| tried.escapes.iter().map(String::as_str)).collect()
    }

    /// The events that put it on record.
    pub(crate) fn events(&self) -> impl Iterator<Item = ControlEvent> {
        self.layers.iter().map(|tried| {
            ControlEvent::SealSelftest(Selftest {
                layer: tried.layer.into(),
                state: tried.state,
                tried: tried.attempts,
                escaped: tried.escapes.len() as u64,
                escapes: tried.escapes.iter().map(|name| name.as_str().into()).collect(),
            })
        })
    }
}

impl Tried {
    fn new(layer: &'static str, tried: usize, mut escapes: Vec<String>) -> Self {
        if tried == 0 {
            escapes.push("nothing could be tried".to_owned());
        }
        let state = if escapes.is_empty() { SealState::Held } else { SealState::Broken };
        Self { layer, state, attempts: tried as u64, escapes }
    }

    fn absent(layer: &'static str) -> Self {
        Self { layer, state: SealState::Absent, attempts: 0, escapes: Vec::new() }
    }
}

/// Tries the walls of this process.
pub(crate) struct SealCheck {
    /// What the attempts aim at; nothing if the process is not confined.
    context: Option<Arc<Context>>,
    way: Arc<dyn Way>,
    last: Mutex<Report>,
}

impl SealCheck {
    /// Makes the check of a process that was confined, with what to aim at, or of one that was not.
    pub(crate) fn new(context: Option<Context>, way: Arc<dyn Way>) -> Self {
        let nothing = Report { at: Timestamp::now().to_string(), layers: Vec::new() };
        Self { context: context.map(Arc::new), way, last: Mutex::new(nothing) }
    }

    /// Returns what the last round came to.
    pub(crate) fn last(&self) -> Report {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tries everything once.
    pub(crate) async fn run(&self, policy: &Policy) -> Report {
        let mut layers = self.kernel().await;
        layers.push(self.broker(policy).await);
        let report = Report { at: Timestamp::now().to_string(), layers };
        for escape in report.escapes() {
            tracing::error!(escape, "a wall does not hold");
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = report.clone();
        report
    }

    async fn kernel(&self) -> Vec<Tried> {
        let names = [(Layer::Seccomp, "seccomp"), (Layer::Landlock, "landlock")];
        let Some(context) = self.context.clone() else {
            return names.map(|(_, name)| Tried::absent(name)).into();
        };
        let attempts = tokio::task::spawn_blocking(move || escapes::try_all(&context)).await;
        let attempts = attempts.unwrap_or_default();
        let of = |(layer, name)| {
            let tried = attempts.iter().filter(|attempt| attempt.layer == layer);
            let tried = tried.filter(|attempt| !matches!(attempt.outcome, Outcome::NotApplicable(_)));
            let escaped = tried.clone().filter_map(|attempt| match &attempt.outcome {
                Outcome::Escaped(how) => Some(format!("{}: {how}", attempt.name)),
                Outcome::Blocked(_) | Outcome::NotApplicable(_) => None,
            });
            Tried::new(name, tried.clone().count(), escaped.collect())
        };
        names.map(of).into()
    }

    /// Asks for what nobody gives: as a sealed workflow, for a host that no provider has, for nobody.
    async fn broker(&self, policy: &Policy) -> Tried {
        let questions = forbidden(policy);
        let mut escaped = Vec::new();
        for ask in &questions {
            if let Err(what) = self.refuses(ask).await {
                escaped.push(format!("{} to {}:{}: {what}", ask.workflow, ask.host, ask.port));
            }
        }
        Tried::new("broker", questions.len(), escaped)
    }

    /// Waits for a refusal, also of a broker that is just being replaced.
    async fn refuses(&self, ask: &Ask) -> Result<(), &'static str> {
        let give_up = Instant::now() + BROKER_WAIT_MAX;
        loop {
            match self.way.open(ask, Instant::now() + REFUSAL_WAIT_MAX).await {
                Ok(_) => return Err("connected"),
                Err(error) => match error.failure() {
                    DialFailure::Denied | DialFailure::Revoked => return Ok(()),
                    DialFailure::Unavailable | DialFailure::Timeout if Instant::now() < give_up => {}
                    _ => return Err("not refused by the policy"),
                },
            }
        }
    }
}

/// Questions to which every right answer is no.
fn forbidden(policy: &Policy) -> Vec<Ask> {
    let hosted: Vec<_> = policy
        .providers()
        .filter_map(|provider| match provider {
            Provider::Http(destination) if destination.locality() != Locality::Local => Some(destination),
            _ => None,
        })
        .collect();
    let named = |workflow: WorkflowName, provider: ProviderName, host: Host, port: u16| Ask {
        workflow,
        provider,
        host,
        port,
        purpose: Purpose::SealTest,
    };
    let nowhere = || Host::Domain("seal-test.invalid".to_owned());
    let nobody = WorkflowName::new("seal-test-nobody").ok();
    let unknown = ProviderName::new("seal-test-nobody").ok();
    let mut asks = Vec::new();
    let sealed = policy.workflows().filter(|workflow| workflow.egress_mode() == EgressMode::Sealed);
    for (index, workflow) in sealed.take(WORKFLOWS_MAX).enumerate() {
        let name = workflow.name().clone();
        asks.extend(unknown.clone().map(|provider| named(name.clone(), provider, nowhere(), 443)));
        if !hosted.is_empty() {
            let to = hosted[index % hosted.len()];
            asks.push(named(name, to.provider().clone(), to.host().clone(), to.port()));
        }
    }
    for to in hosted.iter().take(WORKFLOWS_MAX) {
        let asked = nobody.clone();
        asks.extend(asked.map(|who| named(who, to.provider().clone(), to.host().clone(), to.port())));
    }
    if let (Some(who), Some(provider)) = (nobody, unknown) {
        asks.push(named(who, provider, nowhere(), 443));
    }
    asks
}
