//! Which tools may be offered that could not be, and the other way round.

use std::collections::BTreeSet;

use super::texts::{Pattern, texts};
use super::{Aspect, Change, Effect};
use crate::tools::ToolRules;

/// Most examples that are told of one workflow.
const EXAMPLES_MAX: usize = 12;

/// A name with a letter that no format needs.
const NOT_PLAIN: &str = "caf\u{e9}";

/// Returns one change for each kind of tool that only one of the two lets pass.
pub(super) fn changes(before: &ToolRules, after: &ToolRules) -> Vec<Change> {
    let change = |effect, before, after| Change { aspect: Aspect::Tools, effect, before, after };
    if before == after {
        return Vec::new();
    }
    let Some(names) = examples(before, after) else {
        let after = Some("rules of too many patterns to compare".to_owned());
        return vec![change(Effect::Widening, None, after)];
    };
    let mut changes: Vec<Change> = names
        .into_iter()
        .filter_map(|name| match (permits(before, &name), permits(after, &name)) {
            (false, true) => Some(change(Effect::Widening, None, Some(name))),
            (true, false) => Some(change(Effect::Tightening, Some(name), None)),
            _ => None,
        })
        .collect();
    changes.sort_by_key(|change| std::cmp::Reverse(change.effect));
    changes.truncate(EXAMPLES_MAX);
    changes
}

/// Returns a tool that both let pass, if there is one, or else one that the first lets pass.
pub(super) fn harmless(before: &ToolRules, after: &ToolRules) -> Option<String> {
    let names = examples(before, after)?;
    let both = names.iter().find(|name| permits(before, name) && permits(after, name));
    both.or_else(|| names.iter().find(|name| permits(before, name))).cloned()
}

fn permits(rules: &ToolRules, name: &str) -> bool {
    rules.refused(&[name.to_owned()]).is_none()
}

fn examples(before: &ToolRules, after: &ToolRules) -> Option<BTreeSet<String>> {
    let mut patterns = BTreeSet::new();
    for ToolRules { allow, deny } in [before, after] {
        patterns.extend(allow.iter().flatten().map(|pattern| Pattern::Exact(pattern.as_str())));
        patterns.extend(deny.iter().map(|pattern| Pattern::LowerCase(pattern.as_str())));
    }
    let mut names = texts(&patterns)?;
    // Rules of any kind let no such name pass, and the absence of rules does.
    names.insert(NOT_PLAIN.to_owned());
    Some(names)
}
