//! Which rules of a policy no case has met.
//!
//! Entries of routes and reasons to refuse are counted apart: that what should pass passes is soon tested, and that
//! what should not does not is forgotten.

use std::collections::BTreeSet;

use crate::decide::DenyCode;
use crate::explain::{Ask, Outcome, identity_code, select_code};
use crate::identity::{Caller, IdentityError, SelectError};
use crate::indirect::IndirectKind;
use crate::name::WorkflowName;
use crate::policy::Policy;
use crate::tools::ToolRules;
use crate::workflow::Workflow;

/// Whether a rule lets calls pass or refuses them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleKind {
    /// An entry of a route.
    Entry,
    /// A reason to refuse.
    Deny,
}

/// One rule that a case can meet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    /// The workflow that it belongs to.
    pub workflow: WorkflowName,
    /// What it does.
    pub kind: RuleKind,
    /// The entry's place in the file, or the code of the refusal.
    pub name: String,
}

/// The rules of a policy, and those that were met.
#[derive(Debug, Clone)]
pub struct Coverage {
    rules: BTreeSet<Rule>,
    met: BTreeSet<Rule>,
}

impl Coverage {
    /// Finds the rules of `policy`; none is met yet.
    pub(crate) fn of(policy: &Policy) -> Self {
        let rules = policy.workflows().flat_map(|workflow| {
            let entries = workflow.route.entries().map(|entry| entry.rule.clone());
            let entries = entries.map(move |name| rule(&workflow.name, RuleKind::Entry, name));
            entries.chain(
                deny_codes(policy, workflow).map(move |code| rule(&workflow.name, RuleKind::Deny, code)),
            )
        });
        Self { rules: rules.collect(), met: BTreeSet::new() }
    }

    /// Notes which rules a case has met.
    pub(crate) fn record(&mut self, policy: &Policy, ask: &Ask, outcome: &Outcome) {
        match outcome {
            Outcome::Allow { workflow, rule: name, .. } => {
                self.meet(rule(workflow, RuleKind::Entry, name.clone()));
            }
            // What a workflow says about content is one word, or none: there is no branch to go wrong.
            Outcome::Deny { code, .. } if IndirectKind::of_code(code).is_some() => {}
            Outcome::Deny { workflow: Some(workflow), code, .. } => {
                self.meet(rule(workflow, RuleKind::Deny, *code));
            }
            Outcome::Deny { workflow: None, .. } => self.refused_at_the_door(policy, ask),
        }
    }

    /// Notes a refusal before there is a workflow: it is about the one that was named, or about all that the caller
    /// could have meant.
    fn refused_at_the_door(&mut self, policy: &Policy, ask: &Ask) {
        match (ask.workflow.as_deref().and_then(|name| policy.workflow(name)), ask.caller(policy)) {
            (Some(workflow), _) => self.meet(rule(&workflow.name, RuleKind::Deny, not_entitled())),
            (None, Ok(caller)) if ask.workflow.is_none() => {
                for name in caller.workflows() {
                    self.meet(rule(name, RuleKind::Deny, ambiguous()));
                }
            }
            (None, _) => {}
        }
    }

    fn meet(&mut self, rule: Rule) {
        debug_assert!(self.rules.contains(&rule), "{rule:?} decided and is no rule of the policy");
        self.met.insert(rule);
    }

    /// Returns how many rules of a kind were met, and how many there are.
    pub fn count(&self, kind: RuleKind) -> (usize, usize) {
        let of = |rules: &BTreeSet<Rule>| rules.iter().filter(|rule| rule.kind == kind).count();
        (of(&self.met), of(&self.rules))
    }

    /// Returns the rules that were not met, by workflow.
    pub fn missing(&self) -> impl Iterator<Item = &Rule> {
        self.rules.difference(&self.met)
    }

    /// Returns whether at least `percent` of the entries, and of the reasons to refuse, were met.
    pub fn reaches(&self, percent: u8) -> bool {
        [RuleKind::Entry, RuleKind::Deny].into_iter().all(|kind| {
            let (met, all) = self.count(kind);
            met * 100 >= all * usize::from(percent)
        })
    }
}

fn rule(workflow: &WorkflowName, kind: RuleKind, name: impl Into<String>) -> Rule {
    Rule { workflow: workflow.clone(), kind, name: name.into() }
}

fn not_entitled() -> &'static str {
    select_code(&SelectError::NotEntitled)
}

fn ambiguous() -> &'static str {
    select_code(&SelectError::Ambiguous(Vec::new()))
}

/// The reasons for which calls of `workflow` can be refused. A reason that is added to the decision belongs here.
fn deny_codes(policy: &Policy, workflow: &Workflow) -> impl Iterator<Item = &'static str> {
    let knows_every_model =
        workflow.model_patterns().any(|pattern| pattern.as_str().bytes().all(|b| b == b'*'));
    let unknown_model = (!knows_every_model).then(|| DenyCode::UnknownModel.as_str());
    let is_one_of_several = policy.callers().all().any(|caller: Caller| {
        caller.workflows().count() > 1 && caller.workflows().any(|name| *name == workflow.name)
    });
    let ambiguous = is_one_of_several.then(ambiguous);
    let has_tool_rules = workflow.tools != ToolRules::default();
    let tool_denied = has_tool_rules.then(|| DenyCode::ToolDenied.as_str());
    [Some(not_entitled()), ambiguous, unknown_model, tool_denied].into_iter().flatten()
}

/// Returns the reason in words.
pub(crate) fn meaning(code: &str) -> &'static str {
    let unknown_key = identity_code(IdentityError::UnknownKey);
    match code {
        code if code == not_entitled() || code == unknown_key => {
            "a caller that is not one of its own names it"
        }
        code if code == ambiguous() => "a caller of several workflows names none",
        code if code == DenyCode::UnknownModel.as_str() => "a model that it does not know",
        code if code == DenyCode::ToolDenied.as_str() => "a tool that it does not allow",
        _ => "another reason",
    }
}
