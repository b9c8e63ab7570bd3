//! What would have become of calls that were made.
//!
//! Each recorded call is decided twice, by the policy in force and by the new one, from the facts that its record
//! holds. The record's own decision is not compared with the new policy's, because it may be of yet another policy;
//! how often that is so is counted.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Value, json};

use super::tools;
use crate::explain::{Ask, Outcome};
use crate::policy::Policy;
use crate::tools::ToolRules;

/// What a record does not hold, and what is taken instead. Printed with every replay.
const TAKEN: &str = "a record holds sizes and counts, and no images and no task: calls count as without; of tools it \
                         holds how many there were: they count as one that both policies allow, so that a rule for \
                         tools flips no call here; the recorded workflow counts as named by the call";

/// A replay in progress.
#[derive(Debug)]
pub struct Replay<'p> {
    base: &'p Policy,
    new: &'p Policy,
    /// What stands for the tools of a workflow's calls.
    tools: BTreeMap<String, String>,
    tally: Tally,
}

/// What a replay came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Calls that were decided twice.
    pub calls: u64,
    /// Calls that were allowed and would be denied, or the other way round, or would go elsewhere; by workflow and by
    /// what happens to them.
    pub flips: BTreeMap<(String, String), u64>,
    /// Calls whose record says otherwise than the base policy does: another policy was in force.
    pub decided_otherwise: u64,
    /// Records that could not be replayed, by reason.
    pub left_out: BTreeMap<&'static str, u64>,
}

impl<'p> Replay<'p> {
    /// Begins a replay over two policies.
    pub fn new(base: &'p Policy, new: &'p Policy) -> Self {
        Self { base, new, tools: BTreeMap::new(), tally: Tally::default() }
    }

    /// Decides one recorded call twice; `was_allowed` is what its record says. If tools were offered, their names in
    /// `ask` do not matter.
    pub fn call(&mut self, ask: &Ask, was_allowed: bool) {
        let mut ask = ask.clone();
        if !ask.facts.tools.is_empty() {
            ask.facts.tools = vec![self.tool(ask.workflow.as_deref().unwrap_or_default())];
        }
        let ask = &ask;
        let (was, is) = (self.base.answer(ask), self.new.answer(ask));
        self.tally.calls += 1;
        if was_allowed != matches!(was, Outcome::Allow { .. }) {
            self.tally.decided_otherwise += 1;
        }
        let (was, is) = (was.in_short(), is.in_short());
        if was != is {
            let workflow = ask.workflow.clone().unwrap_or_default();
            *self.tally.flips.entry((workflow, format!("{was} -> {is}"))).or_default() += 1;
        }
    }

    /// A tool that stands for those whose names are not on record.
    fn tool(&mut self, workflow: &str) -> String {
        if let Some(tool) = self.tools.get(workflow) {
            return tool.clone();
        }
        let unruled = ToolRules::default();
        let rules = |policy: &'p Policy| policy.workflow(workflow).map(|found| &found.tools);
        let (before, after) = (rules(self.base).unwrap_or(&unruled), rules(self.new).unwrap_or(&unruled));
        let tool = tools::harmless(before, after).unwrap_or_else(|| "tool".to_owned());
        self.tools.insert(workflow.to_owned(), tool.clone());
        tool
    }

    /// Counts a record that cannot be replayed.
    pub fn leave_out(&mut self, reason: &'static str) {
        *self.tally.left_out.entry(reason).or_default() += 1;
    }

    /// Ends the replay.
    pub fn finish(self) -> Tally {
        self.tally
    }
}

impl Tally {
    /// Returns how many calls have another outcome.
    pub fn flipped(&self) -> u64 {
        self.flips.values().sum()
    }

    /// Returns the tally as JSON.
    pub fn to_json(&self) -> Value {
        let flips = self
            .flips
            .iter()
            .map(|((workflow, what), count)| json!({ "workflow": workflow, "what": what, "calls": count }));
        json!({
            "calls": self.calls,
            "flipped": self.flipped(),
            "flips": flips.collect::<Value>(),
            "decided_otherwise": self.decided_otherwise,
            "left_out": self.left_out,
            "taken": TAKEN,
        })
    }
}

/// Several lines, the last without its newline.
impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replayed {} recorded calls: {} have another outcome", self.calls, self.flipped())?;
        for ((workflow, what), count) in &self.flips {
            write!(f, "\n  {count:>8}  {workflow}: {what}")?;
        }
        if self.decided_otherwise > 0 {
            write!(f, "\n  note: {} were decided by another policy than the base", self.decided_otherwise)?;
        }
        for (reason, count) in &self.left_out {
            write!(f, "\n  left out: {count}, {reason}")?;
        }
        write!(f, "\n  taken: {TAKEN}")
    }
}
