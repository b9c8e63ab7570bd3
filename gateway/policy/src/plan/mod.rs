//! What a change of the policy opens and closes, before it runs.
//!
//! Two compiled policies are compared by what they do: what each workflow may dial and where its calls go, decided
//! by the policies themselves, and who may call it under which limits. Each difference widens, tightens or does
//! neither. What differs and is not understood here counts as widening, so that no new key slips by.

mod classes;
mod flows;
mod profile;
mod render;
mod replay;
mod rest;
mod texts;
mod tools;
mod way;

use std::collections::BTreeSet;

pub use replay::{Replay, Tally};

use self::profile::Profile;
use crate::digest::Digest;
use crate::name::WorkflowName;
use crate::policy::Policy;
use crate::provider::Provider;
use crate::workflow::Workflow;

/// What a difference means for what can leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Neither more nor less is possible.
    Neutral,
    /// Less is possible, or more is kept as evidence.
    Tightening,
    /// More is possible, or less is kept as evidence.
    Widening,
}

/// What a difference is about. The order is the order of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Aspect {
    /// How far the workflow may reach: `sealed`, `allowlist` or `hosted`.
    Mode,
    /// Hosts and ports that may be dialled.
    Hosts,
    /// Providers that may be dialled, and those in the process that calls go to.
    Providers,
    /// Where these providers compute.
    Localities,
    /// The regions that they declare.
    Regions,
    /// The networks whose addresses may be dialled.
    Networks,
    /// Proxies that connections go through, and who resolves names there.
    Proxies,
    /// Whose certificates count.
    Certificates,
    /// Hosts and ports that agents may have connections to.
    Tunnels,
    /// Whether connections that no rule allows are refused.
    TunnelMode,
    /// Content that makes a backend dial or remember.
    Content,
    /// Models that some call is sent to, with the provider, its host and its region.
    Targets,
    /// Calls that have another outcome than before.
    Calls,
    /// Who may call.
    Callers,
    /// Until when a key lets its holder in.
    Expiry,
    /// Tools that may be offered, by an example of each kind that the rules tell apart.
    Tools,
    /// Patterns of tools that are denied.
    ToolsDenied,
    /// Patterns of tools of which each tool has to match one.
    ToolsAllowed,
    /// Request fields that must not be lost on the way.
    MustSurvive,
    /// Longest request body.
    MaxBody,
    /// Longest silence within an answer.
    StreamIdle,
    /// Longest call.
    Total,
    /// Connections that may be open at once.
    Connections,
    /// Whether its work goes before that of others in the gateway's own engine.
    Priority,
    /// How long records are kept.
    Retention,
    /// How long answers are kept for later calls.
    StoredKeep,
    /// How much of them is kept.
    StoredBytes,
    /// Who answers for the workflow.
    Owner,
    /// Hosts that are denied to every workflow.
    DenyHosts,
    /// How a provider or a model is declared.
    Definition,
    /// A part of the policy that this comparison does not know.
    Other,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// What it is about.
    pub aspect: Aspect,
    /// What it means.
    pub effect: Effect,
    /// What is lost, or what the value was.
    pub before: Option<String>,
    /// What is gained, or what the value is.
    pub after: Option<String>,
}

/// What became of a workflow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It is new.
    Added,
    /// It is gone.
    Removed,
    /// It is in both policies, and differs.
    Changed,
}

/// The differences of one workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowPlan {
    /// The workflow.
    pub name: WorkflowName,
    /// What became of it.
    pub fate: Fate,
    /// What differs, by aspect.
    pub changes: Vec<Change>,
    /// Whether the places that calls go to are exactly these. A route of very many patterns is not looked at in full;
    /// then every place that it names is listed.
    pub is_exact: bool,
}

/// All differences of two policies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The policy that is in force.
    pub base: Digest,
    /// The policy that would be.
    pub new: Digest,
    /// What differs for all workflows.
    pub common: Vec<Change>,
    /// The workflows that differ, by name.
    pub workflows: Vec<WorkflowPlan>,
}

impl Plan {
    /// Compares two policies.
    pub fn between(base: &Policy, new: &Policy) -> Self {
        let names: BTreeSet<&WorkflowName> =
            base.workflows().chain(new.workflows()).map(Workflow::name).collect();
        let workflows = names.into_iter().filter_map(|name| workflow_plan(name, base, new));
        let mut plan = Self {
            base: *base.digest(),
            new: *new.digest(),
            common: rest::common(base, new),
            workflows: workflows.collect(),
        };
        if plan.base != plan.new && plan.common.is_empty() && plan.workflows.is_empty() {
            plan.common.push(rest::unexplained());
        }
        plan
    }

    /// Returns whether the policies are the same.
    pub fn is_empty(&self) -> bool {
        self.base == self.new
    }

    /// Returns whether something becomes possible that was not.
    pub fn widens(&self) -> bool {
        self.effect() == Effect::Widening
    }

    /// Returns the exit code that says it to a script: 0 no change, 2 changes, 3 changes that widen.
    pub fn exit_code(&self) -> u8 {
        match (self.is_empty(), self.widens()) {
            (true, _) => 0,
            (false, false) => 2,
            (false, true) => 3,
        }
    }

    fn effect(&self) -> Effect {
        let common = self.common.iter().map(|change| change.effect);
        common.chain(self.workflows.iter().map(WorkflowPlan::effect)).max().unwrap_or(Effect::Neutral)
    }
}

impl WorkflowPlan {
    /// Returns the most that any of its differences means.
    pub fn effect(&self) -> Effect {
        match self.fate {
            Fate::Added => Effect::Widening,
            Fate::Removed => Effect::Tightening,
            Fate::Changed => self.changes.iter().map(|change| change.effect).max().unwrap_or(Effect::Neutral),
        }
    }
}

fn workflow_plan(name: &WorkflowName, base: &Policy, new: &Policy) -> Option<WorkflowPlan> {
    let (before, after) = (base.workflow(name.as_str()), new.workflow(name.as_str()));
    let endpoints =
        [base, new].into_iter().flat_map(Policy::providers).filter_map(|provider| match provider {
            Provider::Http(to) => Some((to.host.clone(), to.port)),
            Provider::Engine { .. } => None,
        });
    let endpoints = endpoints.collect();
    let profile = |policy, workflow: Option<&Workflow>| match workflow {
        Some(workflow) => Profile::of(policy, workflow, &endpoints),
        None => Profile { is_exact: true, ..Profile::default() },
    };
    let (was, is) = (profile(base, before), profile(new, after));
    let mut changes = differences(&was, &is);
    changes.extend(way::changes((base, before), (new, after)));
    let fate = match (before, after) {
        (Some(before), Some(after)) => {
            changes.extend(flows::changes((base, before), (new, after)));
            let is_told =
                changes.iter().any(|change| matches!(change.aspect, Aspect::Targets | Aspect::Calls));
            changes.extend(rest::rewritten(before, after).filter(|_| !is_told));
            changes.extend(rest::expiries(before, after));
            changes.extend(tools::changes(&before.tools, &after.tools));
            changes.extend(rest::of_workflow(before, after));
            Fate::Changed
        }
        (None, _) => Fate::Added,
        (_, None) => Fate::Removed,
    };
    if let Fate::Added | Fate::Removed = fate {
        // Of something that is new as a whole, or gone, no part is stricter or looser than it was.
        let effect = if fate == Fate::Added { Effect::Widening } else { Effect::Tightening };
        for change in &mut changes {
            change.effect = effect;
        }
    }
    changes.sort_by_key(|change| change.aspect);
    let is_exact = was.is_exact && is.is_exact;
    let is_worth_telling = fate != Fate::Changed || !changes.is_empty();
    is_worth_telling.then(|| WorkflowPlan { name: name.clone(), fate, changes, is_exact })
}

/// Compares what a workflow amounts to before and after.
fn differences(was: &Profile, is: &Profile) -> Vec<Change> {
    let mut changes = Vec::new();
    let aspects: BTreeSet<Aspect> = was.sets.keys().chain(is.sets.keys()).copied().collect();
    let nothing = BTreeSet::new();
    for aspect in aspects {
        let before = was.sets.get(&aspect).unwrap_or(&nothing);
        let after = is.sets.get(&aspect).unwrap_or(&nothing);
        changes.extend(set_changes(aspect, before, after));
    }
    let aspects: BTreeSet<Aspect> = was.measures.keys().chain(is.measures.keys()).copied().collect();
    for aspect in aspects {
        let (before, after) = (was.measures.get(&aspect), is.measures.get(&aspect));
        if before == after {
            continue;
        }
        let width = |measure: Option<&profile::Measure>| measure.map(|measure| measure.width);
        let effect = match width(after).cmp(&width(before)) {
            std::cmp::Ordering::Greater => Effect::Widening,
            std::cmp::Ordering::Less => Effect::Tightening,
            std::cmp::Ordering::Equal => Effect::Neutral,
        };
        let shown = |measure: Option<&profile::Measure>| measure.map(|measure| measure.shown.clone());
        changes.push(Change { aspect, effect, before: shown(before), after: shown(after) });
    }
    changes
}

/// Lists what a set lost and gained.
fn set_changes(aspect: Aspect, before: &BTreeSet<String>, after: &BTreeSet<String>) -> Vec<Change> {
    let (gain, loss) = match aspect {
        // What these name is forbidden or demanded, so that more of it allows less.
        Aspect::MustSurvive | Aspect::DenyHosts => (Effect::Tightening, Effect::Widening),
        // What these open and close is told by examples of tools.
        Aspect::ToolsDenied | Aspect::ToolsAllowed => (Effect::Neutral, Effect::Neutral),
        _ => (Effect::Widening, Effect::Tightening),
    };
    let lost = before.difference(after).map(|item| (loss, Some(item.clone()), None));
    let gained = after.difference(before).map(|item| (gain, None, Some(item.clone())));
    lost.chain(gained).map(|(effect, before, after)| Change { aspect, effect, before, after }).collect()
}
