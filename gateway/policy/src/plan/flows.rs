//! Which calls go elsewhere under the new policy, though they belong to the same workflow.
//!
//! A workflow's reach can stay what it is while calls move within it: what stayed on the machine may now go to a
//! provider that only other calls went to. One example of each class of calls is decided by both policies.

use std::collections::BTreeMap;

use super::classes::Classes;
use super::{Aspect, Change, Effect};
use crate::decide::Facts;
use crate::explain::{Outcome, clock};
use crate::locality::Locality;
use crate::policy::Policy;
use crate::workflow::Workflow;

/// Most moves that are told of one workflow. Their effects are all counted.
const MOVES_SHOWN_MAX: usize = 20;

/// Returns one change for each pair of outcomes that some call has under the two policies.
pub(super) fn changes(
    (base, before): (&Policy, &Workflow),
    (new, after): (&Policy, &Workflow),
) -> Vec<Change> {
    let classes = Classes::of(&[before, after]);
    let mut moves: BTreeMap<(String, String), (Effect, &Facts)> = BTreeMap::new();
    for facts in &classes.facts {
        let was = Outcome::of(before, base.decide(before, facts));
        let is = Outcome::of(after, new.decide(after, facts));
        let effect = effect(&was, &is);
        let (was, is) = (was.in_short(), is.in_short());
        if was == is {
            continue;
        }
        let entry = moves.entry((was, is)).or_insert((effect, facts));
        if effect > entry.0 {
            *entry = (effect, facts);
        }
    }
    let mut changes: Vec<Change> = moves
        .into_iter()
        .map(|((was, is), (effect, facts))| {
            let example = example(facts);
            let (before, after) = (Some(format!("{example}: {was}")), Some(is));
            Change { aspect: Aspect::Calls, effect, before, after }
        })
        .collect();
    changes.sort_by_key(|change| std::cmp::Reverse(change.effect));
    changes.truncate(MOVES_SHOWN_MAX);
    if !classes.is_complete {
        let after = Some("of more kinds than are compared".to_owned());
        changes.push(Change { aspect: Aspect::Calls, effect: Effect::Widening, before: None, after });
    }
    changes
}

fn effect(was: &Outcome, is: &Outcome) -> Effect {
    let widest =
        |outcome: &Outcome| -> Option<Locality> { outcome.reached().map(|place| place.locality).max() };
    // A refusal is stricter than any locality: nothing is less than something.
    match widest(is).cmp(&widest(was)) {
        std::cmp::Ordering::Greater => Effect::Widening,
        std::cmp::Ordering::Less => Effect::Tightening,
        std::cmp::Ordering::Equal => Effect::Neutral,
    }
}

fn example(facts: &Facts) -> String {
    // What is refused for its content is no class of calls: a plan says it of the workflow.
    let Facts { model, input_tokens, tools, images, content: _, task, now } = facts;
    let mut parts = vec![format!("model {model:?}"), format!("{input_tokens} tokens")];
    if !tools.is_empty() {
        parts.push(format!("tools {tools:?}"));
    }
    if *images {
        parts.push("images".to_owned());
    }
    parts.extend(task.as_ref().map(|task| format!("task {task:?}")));
    if *now > 0 {
        parts.push(clock::moment(*now, 0));
    }
    parts.join(", ")
}
