//! The proof that a policy allowed a request.
//!
//! Neither [`Admitted`] nor [`Hop`] can be made outside this crate, so whoever holds one has passed
//! [`Policy::decide`](crate::Policy::decide).

use std::sync::Arc;
use std::time::Duration;

use crate::content::ContentRules;
use crate::digest::Digest;
use crate::locality::{EgressMode, Locality};
use crate::model::{Model, Price, Target};
use crate::name::{ModelName, ProviderName, WorkflowName};
use crate::order::{Order, Retry};
use crate::priority::Priority;
use crate::workflow::{Entry, StoredResponses};

/// A request that the policy allowed, with the places it may go to.
#[derive(Debug, Clone)]
pub struct Admitted {
    pub(crate) workflow: WorkflowName,
    pub(crate) owner: Arc<str>,
    pub(crate) entry: Arc<Entry>,
    pub(crate) egress_mode: EgressMode,
    pub(crate) limits: Limits,
    pub(crate) must_survive: Arc<[String]>,
    pub(crate) stored_responses: Option<StoredResponses>,
    pub(crate) content: ContentRules,
    pub(crate) priority: Priority,
    pub(crate) digest: Digest,
}

impl Admitted {
    /// Returns the workflow that the request belongs to.
    pub fn workflow(&self) -> &WorkflowName {
        &self.workflow
    }

    /// Returns the team that answers for the workflow.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Returns the route entry that decided, such as `workflows.docs.route[1]`.
    pub fn rule(&self) -> &str {
        &self.entry.rule
    }

    /// Returns how far the workflow may reach.
    pub fn egress_mode(&self) -> EgressMode {
        self.egress_mode
    }

    /// Returns the places to try in order; never empty, and never less strict than the one before.
    pub fn hops(&self) -> &[Hop] {
        &self.entry.hops
    }

    /// Returns how to choose among the hops.
    pub fn order(&self) -> &Order {
        &self.entry.order
    }

    /// Returns how often the call may be sent to one hop.
    pub fn retry(&self) -> Retry {
        self.entry.retry
    }

    /// Returns where a copy of the call goes, whose answer nobody gets. It is no less strict than the strictest hop.
    pub fn shadow(&self) -> Option<&Hop> {
        self.entry.shadow.as_ref()
    }

    /// Returns the workflow's limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the request fields that must not be lost when the call is translated for a destination, sorted.
    pub fn must_survive(&self) -> &[String] {
        &self.must_survive
    }

    /// Returns what the gateway keeps of answers; nothing means that a call which needs stored state is refused.
    pub fn stored_responses(&self) -> Option<StoredResponses> {
        self.stored_responses
    }

    /// Returns what the call may ask of a backend beyond its own answer; in a sealed workflow, nothing.
    pub fn content_rules(&self) -> &ContentRules {
        &self.content
    }

    /// Returns how urgent it is, where the gateway's own engine serves it.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// Returns the digest of the policy that decided.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// One place that an admitted request may go to.
#[derive(Debug, Clone)]
pub struct Hop(pub(crate) Arc<Model>);

impl Hop {
    /// Returns the model's name in the policy.
    pub fn model(&self) -> &ModelName {
        self.0.name()
    }

    /// Returns the provider that serves the model.
    pub fn provider(&self) -> &ProviderName {
        self.0.provider()
    }

    /// Returns the model's name as the provider knows it.
    pub fn upstream_model(&self) -> &str {
        self.0.upstream_name()
    }

    /// Returns where the hop computes.
    pub fn locality(&self) -> Locality {
        self.0.locality()
    }

    /// Returns what the hop costs, where the policy says so.
    pub fn price(&self) -> Option<Price> {
        self.0.price()
    }

    /// Returns what answers.
    pub fn target(&self) -> &Target {
        self.0.target()
    }
}

/// What one request of a workflow may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Largest request body.
    pub max_body_bytes: u64,
    /// Longest silence within a streamed answer.
    pub stream_idle: Duration,
    /// Longest time from the request's arrival to the answer's last byte.
    pub total: Duration,
}
