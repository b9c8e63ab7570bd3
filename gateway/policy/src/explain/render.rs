//! An explanation as text for people and as JSON for programs.

use std::fmt;

use serde_json::{Value, json};

use super::{Condition, Explanation, Outcome, Place, RuleStep, Verdict};
use crate::name::WorkflowName;

impl Verdict {
    /// Returns the word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decides => "decides",
            Self::Passes => "passes",
            Self::Skipped => "skipped",
            Self::NotReached => "not_reached",
        }
    }
}

impl Explanation {
    /// Returns the explanation as JSON.
    pub fn to_json(&self) -> Value {
        let caller = self.caller.as_ref().map(|step| {
            let open: Value = step.open.iter().map(WorkflowName::as_str).collect();
            json!({ "caller": step.who.to_string(), "workflows": open })
        });
        let workflow = self.workflow.as_ref().map(|step| {
            json!({ "name": step.name.as_str(), "owner": step.owner, "egress": step.egress, "named": step.named })
        });
        json!({
            "caller": caller,
            "workflow": workflow,
            "rules": self.rules.iter().map(rule_json).collect::<Value>(),
            "outcome": self.outcome.to_json(),
            "policy": self.digest.to_string(),
        })
    }
}

fn rule_json(step: &RuleStep) -> Value {
    let conditions: Value = step
        .conditions
        .iter()
        .map(|Condition { key, wanted, found, holds }| {
            json!({ "key": key, "wanted": wanted, "found": found, "holds": holds })
        })
        .collect();
    json!({ "rule": step.rule, "verdict": step.verdict.as_str(), "conditions": conditions })
}

impl Outcome {
    pub(crate) fn to_json(&self) -> Value {
        match self {
            Self::Allow { workflow, rule, to, order, shadow } => json!({
                "decision": "allow",
                "workflow": workflow.as_str(),
                "rule": rule,
                "to": to.iter().map(Place::to_json).collect::<Value>(),
                "order": order,
                "shadow": shadow.as_ref().map(Place::to_json),
            }),
            Self::Deny { workflow, code, rule, message } => json!({
                "decision": "deny",
                "workflow": workflow.as_ref().map(WorkflowName::as_str),
                "rule": rule,
                "code": code,
                "message": message,
            }),
        }
    }
}

/// Several lines, the last without its newline.
impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(step) = &self.caller {
            let open: Vec<&str> = step.open.iter().map(WorkflowName::as_str).collect();
            let open = if open.is_empty() {
                "is not known here".to_owned()
            } else {
                format!("may use {}", open.join(", "))
            };
            writeln!(f, "caller:    {} {open}", step.who)?;
        }
        if let Some(step) = &self.workflow {
            let how = if step.named { "named by the call" } else { "the caller's only one" };
            writeln!(f, "workflow:  {}, {how}; {}, owner {}", step.name, step.egress, step.owner)?;
        }
        if !self.rules.is_empty() {
            writeln!(f, "rules:")?;
        }
        for step in &self.rules {
            writeln!(f, "  {step}")?;
        }
        writeln!(f, "outcome:   {}", self.outcome)?;
        for (place, number) in self.outcome.to().iter().zip(1..) {
            writeln!(f, "  {number}. {place}, there called {}{}", place.upstream_name, way(place))?;
        }
        if let Outcome::Allow { shadow: Some(place), .. } = &self.outcome {
            let name = &place.upstream_name;
            writeln!(f, "  a copy, whose answer nobody gets: {place}, there called {name}{}", way(place))?;
        }
        write!(f, "policy:    {}", self.digest)
    }
}

fn way(place: &Place) -> String {
    place.proxy.as_ref().map(|proxy| format!(", reached through {proxy}")).unwrap_or_default()
}

impl fmt::Display for RuleStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.verdict {
            Verdict::Decides => "decides    ",
            Verdict::Passes => "passes     ",
            Verdict::Skipped => "skipped    ",
            Verdict::NotReached => "not reached",
        };
        write!(f, "{mark}  {}", self.rule)?;
        if self.conditions.is_empty() {
            return f.write_str(": takes every call");
        }
        for (index, condition) in self.conditions.iter().enumerate() {
            let separator = if index == 0 { ": " } else { "; " };
            write!(f, "{separator}{condition}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, wanted, found, holds } = self;
        // A pattern is matched; anything else is the same or not.
        let is_pattern = wanted.starts_with('`') || wanted.starts_with("the pattern");
        let verb = match (is_pattern, holds) {
            (true, true) => "matches",
            (true, false) => "does not match",
            (false, true) => "is",
            (false, false) => "is not",
        };
        match *key {
            "tools" if *holds => write!(f, "tools are {found}"),
            "tools" => write!(f, "tools are {found}, and have to be {wanted}"),
            "time" => write!(f, "time {found} is {}in {wanted}", if *holds { "" } else { "not " }),
            "max_input_tokens" => {
                let verb = if *holds { "at most" } else { "more than" };
                write!(f, "{key} {found} is {verb} {wanted}")
            }
            _ => write!(f, "{key} {found} {verb} {wanted}"),
        }
    }
}

/// One line.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow { rule, .. } => write!(f, "allow, {}, by {rule}", self.in_short()),
            Self::Deny { code, rule, .. } => write!(f, "deny, {code}, by {rule}"),
        }
    }
}
