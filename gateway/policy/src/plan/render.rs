//! A plan as text for a terminal, as Markdown for a pull request, and as JSON.

use std::fmt::{self, Write as _};

use serde_json::{Value, json};

use super::{Aspect, Change, Effect, Fate, Plan, WorkflowPlan};

impl Effect {
    /// Returns the word for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Neutral => "neutral",
            Self::Tightening => "tightening",
            Self::Widening => "widening",
        }
    }
}

impl Fate {
    /// Returns the word for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Changed => "changed",
        }
    }
}

impl Aspect {
    /// Returns the word for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mode => "egress mode",
            Self::Hosts => "may dial",
            Self::Providers => "provider",
            Self::Localities => "locality",
            Self::Regions => "region",
            Self::Networks => "network",
            Self::Proxies => "connects to",
            Self::Certificates => "certificate",
            Self::Tunnels => "agents may reach",
            Self::TunnelMode => "tunnels",
            Self::Content => "calls may have",
            Self::Targets => "calls go to",
            Self::Calls => "calls such as",
            Self::Callers => "caller",
            Self::Expiry => "key expires",
            Self::Tools => "tools such as",
            Self::ToolsDenied => "tools denied",
            Self::ToolsAllowed => "tools allowed",
            Self::MustSurvive => "must survive",
            Self::MaxBody => "max_body",
            Self::StreamIdle => "stream_idle",
            Self::Total => "total",
            Self::Connections => "connections",
            Self::Priority => "priority",
            Self::Retention => "retention",
            Self::StoredKeep => "stored answers kept for",
            Self::StoredBytes => "stored answers take",
            Self::Owner => "owner",
            Self::DenyHosts => "denied to all",
            Self::Definition => "declared",
            Self::Other => "other",
        }
    }
}

impl Plan {
    /// Returns the plan as JSON.
    pub fn to_json(&self) -> Value {
        let workflows = self.workflows.iter().map(|plan| {
            json!({
                "workflow": plan.name.as_str(),
                "fate": plan.fate.as_str(),
                "effect": plan.effect().as_str(),
                "exact": plan.is_exact,
                "changes": plan.changes.iter().map(change_json).collect::<Value>(),
            })
        });
        json!({
            "base": self.base.to_string(),
            "new": self.new.to_string(),
            "effect": if self.is_empty() { "none" } else { self.effect().as_str() },
            "exit_code": self.exit_code(),
            "common": self.common.iter().map(change_json).collect::<Value>(),
            "workflows": workflows.collect::<Value>(),
        })
    }

    /// Returns the plan as Markdown for a pull request.
    pub fn to_markdown(&self) -> String {
        markdown(self)
    }

    fn verdict(&self) -> &'static str {
        match self.exit_code() {
            0 => "nothing changes",
            2 => "changes, and nothing becomes reachable or allowed that was not",
            _ => "**this widens what is possible** and needs a second approval",
        }
    }
}

fn markdown(plan: &Plan) -> String {
    let mut text = format!("## Policy plan: {}\n\n", plan.verdict());
    let mut write = |part: fmt::Arguments<'_>| text.write_fmt(part).expect("a string takes every write");
    write(format_args!("`{}` → `{}`\n", short(&plan.base.to_string()), short(&plan.new.to_string())));
    for part in &plan.workflows {
        let effect = part.effect();
        write(format_args!(
            "\n### {} `{}`: {}, {}\n\n",
            mark(effect),
            part.name,
            part.fate.as_str(),
            effect.as_str()
        ));
        write(format_args!("{}", table(&part.changes)));
        if !part.is_exact {
            write(format_args!("\n{INEXACT}\n"));
        }
    }
    if !plan.common.is_empty() {
        write(format_args!("\n### For all workflows\n\n{}", table(&plan.common)));
    }
    text
}

/// What is said of a route with more classes of calls than are looked at.
const INEXACT: &str =
    "The route has too many patterns to look at in full: every place that it names is listed.";

fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

fn mark(effect: Effect) -> &'static str {
    match effect {
        Effect::Neutral => "·",
        Effect::Tightening => "▼",
        Effect::Widening => "▲",
    }
}

fn table(changes: &[Change]) -> String {
    let mut text = String::from("| | | before | after |\n|---|---|---|---|\n");
    for Change { aspect, effect, before, after } in changes {
        let cell = |value: &Option<String>| value.as_deref().map(code).unwrap_or_default();
        let (mark, word) = (mark(*effect), effect.as_str());
        let (before, after) = (cell(before), cell(after));
        writeln!(text, "| {mark} {word} | {} | {before} | {after} |", aspect.as_str())
            .expect("a string takes every write");
    }
    text
}

/// Text as code in a cell. What the policy's author wrote may not end the cell or the code.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'").replace('|', "¦").replace(['\n', '\r'], " "))
}

fn change_json(change: &Change) -> Value {
    let Change { aspect, effect, before, after } = change;
    json!({ "aspect": aspect.as_str(), "effect": effect.as_str(), "before": before, "after": after })
}

/// Several lines, the last without its newline.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for WorkflowPlan { name, fate, changes, is_exact } in &self.workflows {
            writeln!(f, "{name}: {}", fate.as_str())?;
            list(f, changes)?;
            if !is_exact {
                writeln!(f, "  note: {INEXACT}")?;
            }
        }
        if !self.common.is_empty() {
            writeln!(f, "for all workflows:")?;
            list(f, &self.common)?;
        }
        write!(f, "{}", self.verdict().replace("**", ""))
    }
}

fn list(f: &mut fmt::Formatter<'_>, changes: &[Change]) -> fmt::Result {
    for Change { aspect, effect, before, after } in changes {
        let what = match (before, after) {
            (Some(before), Some(after)) => format!("~ {before} -> {after}"),
            (Some(before), None) => format!("- {before}"),
            (None, Some(after)) => format!("+ {after}"),
            (None, None) => String::new(),
        };
        writeln!(f, "  {:<10}  {}: {what}", effect.as_str(), aspect.as_str())?;
    }
    Ok(())
}
