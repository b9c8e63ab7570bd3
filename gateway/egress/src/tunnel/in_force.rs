//! The rules in force: a compiled policy and a list of revocations, each of which may be replaced at any time.
//!
//! Deliberately absent: where both come from, and who says that they are good.

use std::sync::{Arc, PoisonError, RwLock};

use policy::{Caller, IdentityError, Moment, Policy, Presented, Refused, Revocations, Tunnel, WorkflowName};
use tokio::sync::watch;

use super::credentials::Credentials;
use super::request::Kind;
use super::rules::{Denied, Guest, Inside, Mode, NotAdmitted, Passage, Rules, Shown};
use super::target::Target;

/// Decides by the policy and the list that it was given last.
pub struct InForce {
    /// The lock is held for two clones.
    both: RwLock<Both>,
    generation: watch::Sender<u64>,
    clock: fn() -> Moment,
}

#[derive(Clone)]
struct Both {
    policy: Arc<Policy>,
    revocations: Arc<Revocations>,
}

impl InForce {
    /// Begins with a policy and a list; `clock` tells the time, at which keys expire.
    pub fn new(policy: Arc<Policy>, revocations: Arc<Revocations>, clock: fn() -> Moment) -> Self {
        let both = RwLock::new(Both { policy, revocations });
        Self { both, generation: watch::Sender::new(0), clock }
    }

    /// Puts a policy in force. Connections that it does not allow are cut.
    pub fn decide_by(&self, policy: Arc<Policy>) {
        self.change(|both| both.policy = policy);
    }

    /// Puts a list in force. Connections of whatever it names are cut.
    pub fn revoke(&self, revocations: Arc<Revocations>) {
        self.change(|both| both.revocations = revocations);
    }

    fn change(&self, change: impl FnOnce(&mut Both)) {
        change(&mut self.both.write().unwrap_or_else(PoisonError::into_inner));
        self.generation.send_modify(|generation| *generation += 1);
    }

    fn both(&self) -> Both {
        self.both.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Finds who is calling. A key counts more than a place: whoever shows one wants to be its holder.
    fn identify(&self, policy: &Policy, shown: &Shown<'_>) -> Result<Caller, IdentityError> {
        let now = (self.clock)();
        if let Some(credentials) = shown.credentials {
            let api_key = Some(credentials.key());
            return policy.identify(&Presented { loopback: false, api_key, now });
        }
        let from = shown.from.ok_or(IdentityError::Missing)?;
        let here = Presented { loopback: from.is_loopback(), api_key: None, now };
        policy.identify_source(from).or_else(|_| policy.identify(&here))
    }

    /// Whether the key by which a caller was let in would still let it in.
    fn is_open(&self, policy: &Policy, caller: &Caller, workflow: &WorkflowName) -> bool {
        let Some(shown) = caller.key() else { return true };
        let now = (self.clock)();
        policy.keys().any(|key| {
            key.id == shown
                && key.workflows.contains(workflow)
                && key.expires.is_none_or(|expires| now < expires)
        })
    }
}

impl Rules for InForce {
    fn admit(&self, shown: &Shown<'_>) -> Result<Guest, NotAdmitted> {
        let Both { policy, .. } = self.both();
        let caller = self.identify(&policy, shown)?;
        let named = shown.credentials.and_then(Credentials::workflow);
        let workflow = policy.select(&caller, named)?;
        let is_enforced = workflow.tunnels().is_enforced((self.clock)());
        Ok(Guest {
            workflow: workflow.name().clone(),
            mode: if is_enforced { Mode::Enforce } else { Mode::Report },
            connections_max: workflow.connections_max(),
            caller,
        })
    }

    fn decide(&self, guest: &Guest, target: &Target, kind: Kind) -> Result<Passage, Denied> {
        let Both { policy, revocations } = self.both();
        let Guest { caller, workflow, .. } = guest;
        let host = target.host();
        let revoked = revocations.of_caller(caller).or_else(|| revocations.of_workflow(workflow));
        if let Some(revoked) = revoked.or_else(|| revocations.of_host(host)) {
            return Err(Denied::Revoked(revoked));
        }
        if !self.is_open(&policy, caller, workflow) {
            return Err(Denied::Gone);
        }
        let (tunnel, inside) = match kind {
            Kind::Connect => (Tunnel::Connect, Inside::Tls),
            Kind::Plain => (Tunnel::Plain, Inside::Any),
        };
        match policy.may_tunnel(workflow, host, target.port(), tunnel) {
            Ok(rule) => Ok(Passage { cidrs: rule.cidrs, inside }),
            Err(Refused::DeniedHost(_)) => Err(Denied::DeniedHost),
            Err(Refused::Sealed) => Err(Denied::Sealed),
            Err(Refused::OfProvider) => Err(Denied::OfProvider),
            Err(Refused::NotNamed) => Err(Denied::NotNamed),
            // Whatever else there is or will be is no matter of learning.
            Err(_) => Err(Denied::Gone),
        }
    }

    fn generation(&self) -> watch::Receiver<u64> {
        self.generation.subscribe()
    }
}
