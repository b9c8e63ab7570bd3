//! Workflows: who may call, where the calls go, and how much they may use.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::admitted::{Hop, Limits};
use crate::content::ContentRules;
use crate::decide::Facts;
use crate::glob::Glob;
use crate::grant::Grant;
use crate::identity::CallerRule;
use crate::locality::EgressMode;
use crate::model::Model;
use crate::name::{ModelName, WorkflowName};
use crate::order::{Order, Retry};
use crate::priority::Priority;
use crate::tools::ToolRules;
use crate::tunnel::TunnelMode;
use crate::window::Window;

/// A workflow, as the policy means it.
#[derive(Debug, Clone)]
pub struct Workflow {
    pub(crate) name: WorkflowName,
    pub(crate) owner: Arc<str>,
    /// Sorted, without repetition.
    pub(crate) callers: Vec<CallerRule>,
    pub(crate) grant: Grant,
    pub(crate) route: Route,
    /// Every model that some entry of the route leads to.
    pub(crate) reachable: BTreeMap<ModelName, Arc<Model>>,
    pub(crate) tools: ToolRules,
    pub(crate) limits: Limits,
    pub(crate) retention: Duration,
    /// Sorted, without repetition.
    pub(crate) must_survive: Arc<[String]>,
    pub(crate) stored_responses: Option<StoredResponses>,
    pub(crate) content: ContentRules,
    pub(crate) tunnels: TunnelMode,
    pub(crate) connections_max: u32,
    pub(crate) priority: Priority,
}

/// What the gateway itself keeps of answers, so that a later call can refer to one by its id.
///
/// The store is this process's own memory, so a sealed workflow may have one too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredResponses {
    /// How long an answer is kept.
    pub keep: Duration,
    /// How much all answers of the workflow may take together, in bytes.
    pub max_bytes: u64,
}

/// Where calls go. The last entry has no condition, so every call has an entry.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) conditional: Vec<(When, Arc<Entry>)>,
    pub(crate) otherwise: Arc<Entry>,
}

/// One entry of a route.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// Where the entry stands in the file, such as `workflows.docs.route[1]`.
    pub(crate) rule: String,
    /// Never empty, and never less strict than the one before.
    pub(crate) hops: Vec<Hop>,
    pub(crate) order: Order,
    pub(crate) retry: Retry,
    /// Gets a copy of each call, and nobody gets its answer.
    pub(crate) shadow: Option<Hop>,
}

/// The conditions of an entry; all that are present must hold.
#[derive(Debug, Clone)]
pub(crate) struct When {
    pub(crate) model: Option<Glob>,
    pub(crate) tools: Option<bool>,
    pub(crate) input_tokens_max: Option<u32>,
    pub(crate) images: Option<bool>,
    /// A call that names no task does not match, whatever the pattern.
    pub(crate) task: Option<Glob>,
    pub(crate) time: Option<Window>,
}

impl Workflow {
    /// Returns the workflow's name.
    pub fn name(&self) -> &WorkflowName {
        &self.name
    }

    /// Returns the team that answers for the workflow.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// Returns how far the workflow may reach.
    pub fn egress_mode(&self) -> EgressMode {
        self.grant.mode
    }

    /// Returns whether a peer on this machine is a caller without any key.
    pub fn admits_loopback(&self) -> bool {
        self.callers.contains(&CallerRule::Loopback)
    }

    /// Returns what one request may use.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns how long records of the workflow are kept.
    pub fn retention(&self) -> Duration {
        self.retention
    }

    /// Returns the request fields that must not be lost on the way to a destination, sorted.
    pub fn must_survive(&self) -> &[String] {
        &self.must_survive
    }

    /// Returns what the gateway keeps of answers; nothing means that a call which needs stored state is refused.
    pub fn stored_responses(&self) -> Option<StoredResponses> {
        self.stored_responses
    }

    /// Returns what calls may ask of a backend beyond its own answer; a sealed workflow refuses all of it.
    pub fn content_rules(&self) -> &ContentRules {
        &self.content
    }

    /// Returns what becomes of connections of agents that no rule allows.
    pub fn tunnels(&self) -> TunnelMode {
        self.tunnels
    }

    /// Returns how urgent its work is, where the gateway's own engine serves it.
    pub fn priority(&self) -> Priority {
        self.priority
    }

    /// Returns how many connections to others the workflow may have open at once.
    pub fn connections_max(&self) -> u32 {
        self.connections_max
    }

    /// Returns whether the decision depends on images, so that nobody has to look for them where it does not.
    pub fn asks_about_images(&self) -> bool {
        self.route.conditional.iter().any(|(when, _)| when.images.is_some())
    }

    /// Returns every model that the workflow can be routed to, by name.
    pub fn reachable_models(&self) -> impl Iterator<Item = &Model> {
        self.reachable.values().map(AsRef::as_ref)
    }

    /// Returns the patterns that a request's model may match, in the order of the route.
    pub(crate) fn model_patterns(&self) -> impl Iterator<Item = &Glob> {
        self.route.conditional.iter().filter_map(|(when, _)| when.model.as_ref())
    }
}

impl Route {
    /// Returns the first entry that applies.
    pub(crate) fn entry(&self, facts: &Facts) -> &Arc<Entry> {
        let applies = self.conditional.iter().find(|(when, _)| when.holds(facts));
        applies.map_or(&self.otherwise, |(_, entry)| entry)
    }

    /// Returns all entries in order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.conditional.iter().map(|(_, entry)| entry).chain([&self.otherwise])
    }
}

impl When {
    fn holds(&self, facts: &Facts) -> bool {
        self.model.as_ref().is_none_or(|pattern| pattern.matches(&facts.model))
            && self.tools.is_none_or(|tools| tools != facts.tools.is_empty())
            && self.input_tokens_max.is_none_or(|max| facts.input_tokens <= u64::from(max))
            && self.images.is_none_or(|images| images == facts.images)
            && self
                .task
                .as_ref()
                .is_none_or(|pattern| facts.task.as_ref().is_some_and(|task| pattern.matches(task)))
            && self.time.as_ref().is_none_or(|window| window.contains(facts.now))
    }
}
