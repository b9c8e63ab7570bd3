//! Why a call goes where it goes: every rule that was considered, in order, with the value that it looked at.
//!
//! The answer is the decision's own ([`Policy::decide`]); only the reasons are worked out here. A test holds both
//! together: the entry that is explained as the first to match is the one that decides.

mod ask;
pub(crate) mod clock;
mod place;
mod render;

pub use ask::{Ask, Outcome, Who};
pub(crate) use ask::{identity_code, select_code};
pub use place::Place;

use crate::decide::Facts;
use crate::digest::Digest;
use crate::name::WorkflowName;
use crate::policy::Policy;
use crate::tools::ToolRules;
use crate::workflow::{When, Workflow};

/// Everything that led to an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Who calls, and which workflows are open to them; nothing if the question named no caller.
    pub caller: Option<CallerStep>,
    /// The workflow, if one was found.
    pub workflow: Option<WorkflowStep>,
    /// The rules of the workflow, in the order in which they are asked.
    pub rules: Vec<RuleStep>,
    /// What comes of it.
    pub outcome: Outcome,
    /// The policy that decided.
    pub digest: Digest,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallerStep {
    /// The caller as asked about.
    pub who: Who,
    /// The workflows that are open to the caller; none if the policy does not know it.
    pub open: Vec<WorkflowName>,
}

/// Which workflow the call belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkflowStep {
    /// Its name.
    pub name: WorkflowName,
    /// Who answers for it.
    pub owner: String,
    /// How far it may reach.
    pub egress: &'static str,
    /// Whether the question named it; otherwise it is the caller's only one.
    pub named: bool,
}

/// One rule, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleStep {
    /// Where it stands in the file, such as `workflows.docs.route[1]`.
    pub rule: String,
    /// Whether it applies.
    pub verdict: Verdict,
    /// Its conditions; none for a rule that takes every call.
    pub conditions: Vec<Condition>,
}

/// What became of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It applies and decides.
    Decides,
    /// It lets the call pass on to the next rule.
    Passes,
    /// It does not apply.
    Skipped,
    /// A rule before it has decided.
    NotReached,
}

/// One condition of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The condition's key in the file.
    pub key: &'static str,
    /// What the rule asks for.
    pub wanted: String,
    /// What the call has.
    pub found: String,
    /// Whether it holds.
    pub holds: bool,
}

impl Policy {
    /// Explains what becomes of a call from a named caller.
    pub fn explain(&self, ask: &Ask) -> Explanation {
        let outcome = self.answer(ask);
        let caller = ask.caller(self);
        let open = caller.as_ref().map(|caller| caller.workflows().cloned().collect()).unwrap_or_default();
        let workflow = caller.ok().and_then(|caller| self.select(&caller, ask.workflow.as_deref()).ok());
        let step = Some(CallerStep { who: ask.who.clone(), open });
        self.explained(step, workflow, (&ask.facts, ask.workflow.is_some()), outcome)
    }

    /// Explains what becomes of a call of a workflow, whoever it is from. Nothing if there is no such workflow.
    pub fn explain_workflow(&self, name: &str, facts: &Facts) -> Option<Explanation> {
        let workflow = self.workflow(name)?;
        let outcome = Outcome::of(workflow, self.decide(workflow, facts));
        Some(self.explained(None, Some(workflow), (facts, true), outcome))
    }

    fn explained(
        &self,
        caller: Option<CallerStep>,
        workflow: Option<&Workflow>,
        (facts, named): (&Facts, bool),
        outcome: Outcome,
    ) -> Explanation {
        let rules = workflow.map(|workflow| rules(workflow, facts)).unwrap_or_default();
        let workflow = workflow.map(|workflow| WorkflowStep {
            name: workflow.name.clone(),
            owner: workflow.owner.to_string(),
            egress: workflow.egress_mode().as_str(),
            named,
        });
        Explanation { caller, workflow, rules, outcome, digest: *self.digest() }
    }
}

/// The rules of a workflow in the order in which [`Policy::decide`] asks them.
fn rules(workflow: &Workflow, facts: &Facts) -> Vec<RuleStep> {
    let route = format!("workflows.{}.route", workflow.name);
    let tools = format!("workflows.{}.tools", workflow.name);
    let egress = format!("workflows.{}.egress", workflow.name);
    let mut decided = false;
    let mut steps = Vec::new();
    // What these ask has to hold, so they decide if it does not.
    for (rule, condition) in [
        (route, Some(known_model(workflow, facts))),
        (tools, allowed_tools(workflow, facts)),
        (egress, allowed_content(workflow, facts)),
    ] {
        let Some(condition) = condition else { continue };
        let verdict = match (decided, condition.holds) {
            (true, _) => Verdict::NotReached,
            (false, true) => Verdict::Passes,
            (false, false) => Verdict::Decides,
        };
        decided |= !condition.holds;
        steps.push(RuleStep { rule, verdict, conditions: vec![condition] });
    }
    let conditional = workflow.route.conditional.iter().map(|(when, entry)| (conditions(when, facts), entry));
    for (conditions, entry) in conditional.chain([(Vec::new(), &workflow.route.otherwise)]) {
        let holds = conditions.iter().all(|condition| condition.holds);
        let verdict = match (decided, holds) {
            (true, _) => Verdict::NotReached,
            (false, true) => Verdict::Decides,
            (false, false) => Verdict::Skipped,
        };
        decided |= holds;
        steps.push(RuleStep { rule: entry.rule.clone(), verdict, conditions });
    }
    steps
}

/// The rule for tools, if the workflow has any.
fn allowed_tools(workflow: &Workflow, facts: &Facts) -> Option<Condition> {
    let ToolRules { allow, deny } = &workflow.tools;
    if allow.is_empty() && deny.is_empty() {
        return None;
    }
    let refused = workflow.tools.refused(&facts.tools);
    let wanted = match (allow.is_empty(), deny.is_empty()) {
        (false, false) => "allowed and not denied",
        (false, true) => "allowed",
        (true, _) => "not denied",
    };
    let found = match refused {
        Some(tool) => quoted(tool),
        None if facts.tools.is_empty() => "none".to_owned(),
        None => quoted_list(&facts.tools),
    };
    Some(Condition { key: "tool", wanted: wanted.to_owned(), found, holds: refused.is_none() })
}

/// The rules for content, if the call has any that they are about.
fn allowed_content(workflow: &Workflow, facts: &Facts) -> Option<Condition> {
    let first = facts.content.first()?;
    let refused = workflow.content.refused(&facts.content);
    let found = refused.unwrap_or(first).kind.as_str().to_owned();
    Some(Condition { key: "content", wanted: "not refused".to_owned(), found, holds: refused.is_none() })
}

fn known_model(workflow: &Workflow, facts: &Facts) -> Condition {
    let pattern = workflow.model_patterns().find(|pattern| pattern.matches(&facts.model));
    let wanted = match pattern {
        _ if facts.model == crate::decide::AUTO => "`auto`, which leaves the choice to the policy".to_owned(),
        _ if workflow.reachable.contains_key(facts.model.as_str()) => {
            "a model that the workflow reaches".to_owned()
        }
        Some(pattern) => format!("the pattern `{}` of the route", pattern.as_str()),
        None => "a model that the workflow reaches, a pattern of its route, or `auto`".to_owned(),
    };
    let holds = crate::decide::knows(workflow, &facts.model);
    Condition { key: "model", wanted, found: quoted(&facts.model), holds }
}

/// The conditions of an entry, each with what the call has. A condition that is added and not considered here does
/// not compile.
fn conditions(when: &When, facts: &Facts) -> Vec<Condition> {
    let When { model, tools, input_tokens_max, images, task, time } = when;
    let model = model.as_ref().map(|pattern| Condition {
        key: "model",
        wanted: format!("`{}`", pattern.as_str()),
        found: quoted(&facts.model),
        holds: pattern.matches(&facts.model),
    });
    let tools = tools.map(|wanted| {
        let word = |some: bool| if some { "offered" } else { "absent" }.to_owned();
        let found = !facts.tools.is_empty();
        Condition { key: "tools", wanted: word(wanted), found: word(found), holds: wanted == found }
    });
    let input_tokens = input_tokens_max.map(|max| Condition {
        key: "max_input_tokens",
        wanted: max.to_string(),
        found: facts.input_tokens.to_string(),
        holds: facts.input_tokens <= u64::from(max),
    });
    let images = images.map(|wanted| Condition {
        key: "images",
        wanted: wanted.to_string(),
        found: facts.images.to_string(),
        holds: wanted == facts.images,
    });
    let task = task.as_ref().map(|pattern| Condition {
        key: "task",
        wanted: format!("`{}`", pattern.as_str()),
        found: facts.task.as_deref().map_or_else(|| "not named".to_owned(), quoted),
        holds: facts.task.as_deref().is_some_and(|task| pattern.matches(task)),
    });
    let time = time.as_ref().map(|window| Condition {
        key: "time",
        wanted: clock::hours(window),
        found: clock::moment(facts.now, window.ahead),
        holds: window.contains(facts.now),
    });
    [model, tools, input_tokens, images, task, time].into_iter().flatten().collect()
}

fn quoted_list(texts: &[String]) -> String {
    texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ")
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}
