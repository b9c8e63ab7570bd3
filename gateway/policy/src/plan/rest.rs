//! What differs besides the workflows' profiles: hosts denied to all, how providers and models are declared, and
//! whatever a later version of the format adds.
//!
//! The last is found by comparing canonical forms, the same that the digest covers. A key that nobody here has
//! thought about is therefore told, and told as widening.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Aspect, Change, Effect, set_changes};
use crate::canonical;
use crate::identity::{CallerRule, KeyRule};
use crate::moment::Moment;
use crate::name::KeyId;
use crate::policy::Policy;
use crate::workflow::Workflow;

/// Keys of a workflow's canonical form that its profile and its flows cover.
const COVERED: [&str; 11] = [
    "owner",
    "callers",
    "egress",
    "route",
    "tools_allow",
    "tools_deny",
    "limits",
    "retention_ms",
    "must_survive",
    "stored_responses",
    "priority",
];

/// Longest value that is repeated, in characters.
const VALUE_CHARS_MAX: usize = 120;

/// Lists what differs for all workflows.
pub(super) fn common(base: &Policy, new: &Policy) -> Vec<Change> {
    let denied = |policy: &Policy| -> BTreeSet<String> {
        policy.contents().deny_hosts.iter().map(ToString::to_string).collect()
    };
    let mut changes = set_changes(Aspect::DenyHosts, &denied(base), &denied(new));
    let (before, after) = (base.contents().canonical(), new.contents().canonical());
    for section in ["proxies", "providers", "models"] {
        definitions(section, &before[section], &after[section], &mut changes);
    }
    let known = ["version", "deny_hosts", "proxies", "providers", "models", "workflows"];
    changes.extend(unknown("", &before, &after, &known));
    changes
}

/// Lists what differs in a workflow and is not part of its profile.
pub(super) fn of_workflow(before: &Workflow, after: &Workflow) -> Vec<Change> {
    let (before, after) = (canonical::workflow(before), canonical::workflow(after));
    unknown("", &before, &after, &COVERED)
}

/// Says that a route is written otherwise, where no call notices: entries in another order, or another number of tries.
pub(super) fn rewritten(before: &Workflow, after: &Workflow) -> Option<Change> {
    let [before, after] = [before, after].map(|workflow| canonical::workflow(workflow)["route"].clone());
    let (was, is) = (shortened(&before), shortened(&after));
    (before != after).then(|| Change {
        aspect: Aspect::Definition,
        effect: Effect::Neutral,
        before: Some(format!("route: {was}")),
        after: Some(is),
    })
}

/// Lists keys that let their holders in for a longer or a shorter time.
pub(super) fn expiries(before: &Workflow, after: &Workflow) -> Vec<Change> {
    let keys = |workflow: &Workflow| -> BTreeMap<KeyId, Option<Moment>> {
        let keys = workflow.callers.iter().filter_map(|caller| match caller {
            CallerRule::Loopback | CallerRule::Source(_) => None,
            CallerRule::ApiKey(KeyRule { id, expires, .. }) => Some((id.clone(), *expires)),
        });
        keys.collect()
    };
    let after = keys(after);
    let in_both = keys(before).into_iter().filter_map(|(id, was)| Some((was, *after.get(&id)?, id)));
    let differing = in_both.filter(|(was, is, _)| was != is);
    let shown = |at: Option<Moment>| at.map_or_else(|| "never".to_owned(), |at| at.to_string());
    differing
        .map(|(was, is, id)| {
            let is_longer = match (was, is) {
                (Some(was), Some(is)) => is > was,
                (_, is) => is.is_none(),
            };
            let effect = if is_longer { Effect::Widening } else { Effect::Tightening };
            let before = Some(format!("{id}: {}", shown(was)));
            Change { aspect: Aspect::Expiry, effect, before, after: Some(shown(is)) }
        })
        .collect()
}

/// The one line of a plan that knows of a difference and not which.
pub(super) fn unexplained() -> Change {
    let after = Some("the policies differ in a part that this comparison does not know".to_owned());
    Change { aspect: Aspect::Other, effect: Effect::Widening, before: None, after }
}

/// Lists providers or models that were added, removed or declared otherwise. What that opens shows in workflows.
fn definitions(section: &str, before: &Value, after: &Value, changes: &mut Vec<Change>) {
    let mut tell = |before: Option<String>, after: Option<String>| {
        changes.push(Change { aspect: Aspect::Definition, effect: Effect::Neutral, before, after });
    };
    for name in members(before, after) {
        let (was, is) = (before.get(&name), after.get(&name));
        match (was, is) {
            (Some(was), Some(is)) => {
                for key in members(was, is) {
                    let shown =
                        |value: &Value| value.get(&key).map_or_else(|| "nothing".to_owned(), shortened);
                    if was.get(&key) != is.get(&key) {
                        let (was, is) = (shown(was), shown(is));
                        tell(Some(format!("{section}.{name}.{key}: {was}")), Some(is));
                    }
                }
            }
            (Some(_), None) => tell(Some(format!("{section}.{name}")), None),
            (None, _) => tell(None, Some(format!("{section}.{name}"))),
        }
    }
}

fn unknown(prefix: &str, before: &Value, after: &Value, known: &[&str]) -> Vec<Change> {
    let keys = members(before, after).into_iter().filter(|key| !known.contains(&key.as_str()));
    let differing = keys.filter(|key| before.get(key) != after.get(key));
    let shown =
        |key: &str, value: &Value| value.get(key).map(|value| format!("{prefix}{key}: {}", shortened(value)));
    differing
        .map(|key| {
            let (before, after) = (shown(&key, before), shown(&key, after));
            Change { aspect: Aspect::Other, effect: Effect::Widening, before, after }
        })
        .collect()
}

/// The keys of either object, in order.
fn members(before: &Value, after: &Value) -> BTreeSet<String> {
    [before, after]
        .into_iter()
        .filter_map(Value::as_object)
        .flat_map(|object| object.keys().cloned())
        .collect()
}

fn shortened(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
