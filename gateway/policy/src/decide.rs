//! The decision: every call of a workflow is allowed, with ordered hops, or denied, with a code.
//!
//! Total and pure. The agent's `model` is an input to the route's conditions and never a destination: which
//! model answers is for the policy to say.

use crate::admitted::Admitted;
use crate::indirect::{self, Indirect, IndirectKind};
use crate::policy::Policy;
use crate::workflow::Workflow;

/// A model that every workflow accepts: the agent leaves the choice to the policy.
pub(crate) const AUTO: &str = "auto";
/// Most characters of the agent's own text that a message repeats.
const ECHO_CHARS_MAX: usize = 64;
/// Most usable names that a message lists.
const NAMES_SHOWN_MAX: usize = 20;

/// What the decision depends on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// The request's `model` field.
    pub model: String,
    /// An estimate of the prompt's length in tokens.
    pub input_tokens: u64,
    /// The names of the tools that the request offers to the model; a tool that has none stands by its type.
    pub tools: Vec<String>,
    /// Whether the request holds images. Only asked for if [`Workflow::asks_about_images`] says so.
    pub images: bool,
    /// What the request asks of a backend beyond its own answer. Only asked for if
    /// [`ContentRules::refuse_anything`](crate::ContentRules::refuse_anything) says so.
    pub content: Vec<Indirect>,
    /// What the call is for, in the caller's own word.
    pub task: Option<String>,
    /// When the request came, in seconds since 1970 in UTC.
    pub now: u64,
}

/// The outcome of a decision.
#[derive(Debug, Clone)]
pub enum Decision {
    /// The request may be sent.
    Allow(Admitted),
    /// The request may not be sent anywhere.
    Deny(Denial),
}

/// Why a request was denied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Denial {
    /// The reason, for programs.
    pub code: DenyCode,
    /// The reason and what to do about it, for the caller. It may repeat a part of the caller's own text, so it
    /// does not belong into logs.
    pub message: String,
    /// The field of the request that is at fault.
    pub param: String,
    /// The part of the policy that decided, such as `workflows.docs.route`.
    pub rule: String,
}

/// The reasons for which a policy denies a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DenyCode {
    /// The request's model is neither a model that the workflow reaches nor one that its route knows.
    UnknownModel,
    /// The request offers a tool to the model that the workflow does not allow.
    ToolDenied,
    /// The request asks of a backend what the workflow does not let it do.
    Content(IndirectKind),
}

impl DenyCode {
    /// Returns the code for records and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownModel => "policy.unknown_model",
            Self::ToolDenied => "policy.tool_denied",
            Self::Content(kind) => kind.code(),
        }
    }
}

impl Policy {
    /// Decides about one request of a workflow of this policy.
    pub fn decide(&self, workflow: &Workflow, facts: &Facts) -> Decision {
        if !knows(workflow, &facts.model) {
            return Decision::Deny(unknown_model(workflow, &facts.model));
        }
        if let Some(tool) = workflow.tools.refused(&facts.tools) {
            return Decision::Deny(tool_denied(workflow, tool));
        }
        if let Some(indirect) = workflow.content.refused(&facts.content) {
            return Decision::Deny(content_refused(workflow, indirect));
        }
        let entry = workflow.route.entry(facts);
        Decision::Allow(Admitted {
            workflow: workflow.name.clone(),
            owner: workflow.owner.clone(),
            entry: entry.clone(),
            egress_mode: workflow.grant.mode,
            limits: workflow.limits,
            must_survive: workflow.must_survive.clone(),
            stored_responses: workflow.stored_responses,
            content: workflow.content,
            priority: workflow.priority,
            digest: *self.digest(),
        })
    }
}

// An agent with a typing error should hear of it, and not be answered by some other model.
pub(crate) fn knows(workflow: &Workflow, model: &str) -> bool {
    model == AUTO
        || workflow.reachable.contains_key(model)
        || workflow.model_patterns().any(|pattern| pattern.matches(model))
}

fn unknown_model(workflow: &Workflow, model: &str) -> Denial {
    let mut names: Vec<&str> = workflow.reachable.keys().map(AsRef::as_ref).collect();
    for pattern in workflow.model_patterns() {
        if !names.contains(&pattern.as_str()) {
            names.push(pattern.as_str());
        }
    }
    names.push(AUTO);
    let shown: Vec<String> = names.iter().take(NAMES_SHOWN_MAX).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > NAMES_SHOWN_MAX { ", …" } else { "" };
    Denial {
        code: DenyCode::UnknownModel,
        message: format!(
            "the model {:?} does not exist or the workflow `{}` cannot use it; use {}{more}",
            echo(model),
            workflow.name,
            shown.join(", "),
        ),
        param: "model".to_owned(),
        rule: format!("workflows.{}.route", workflow.name),
    }
}

fn tool_denied(workflow: &Workflow, tool: &str) -> Denial {
    Denial {
        code: DenyCode::ToolDenied,
        message: format!(
            "the workflow `{}` does not allow the tool {:?}; leave it out of the request",
            workflow.name,
            echo(tool),
        ),
        param: "tools".to_owned(),
        rule: format!("workflows.{}.tools", workflow.name),
    }
}

fn content_refused(workflow: &Workflow, indirect: &Indirect) -> Denial {
    Denial {
        code: DenyCode::Content(indirect.kind),
        message: indirect::message(workflow, indirect),
        param: indirect.path.clone(),
        rule: format!("workflows.{}.egress", workflow.name),
    }
}

fn echo(text: &str) -> String {
    text.chars().take(ECHO_CHARS_MAX).collect()
}
