//! Workflows: who reaches what, and no limit is wider than the floor.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::route::{self, Reach};
use super::{Context, caller, egress, refuse_repetition};
use crate::admitted::Limits;
use crate::diagnostic::{Findings, Spanned};
use crate::file::{LimitsFile, StoredResponsesFile, ToolsFile, WorkflowFile};
use crate::glob::Glob;
use crate::name::WorkflowName;
use crate::priority::Priority;
use crate::tools::ToolRules;
use crate::unit::{show_duration, show_size};
use crate::workflow::{StoredResponses, Workflow};

/// Compiles one workflow.
pub(super) fn workflow(
    name: &WorkflowName,
    file: &WorkflowFile,
    context: &Context,
    findings: &mut Findings,
) -> Option<Workflow> {
    let callers = caller::callers(&file.callers, findings);
    let tools = tightened(&context.tools, tools(&file.tools, findings));
    let limits = limits(&file.limits, &context.limits, findings);
    let retention = retention(file.audit.retention.as_ref(), context.retention, findings);
    let own = must_survive(&file.must_survive, findings);
    let stored_responses = file.stored_responses.as_ref().map(|file| {
        let StoredResponsesFile { keep, max_bytes } = *file;
        StoredResponses { keep, max_bytes }
    });
    let connections_max = at_most(
        "connections",
        file.limits.connections.as_ref(),
        context.connections_max,
        |count| count.to_string(),
        findings,
    );
    let grant = file.egress.as_ref().and_then(|file| egress::grant(file, context, findings));
    let content = file.egress.as_ref().map(|file| egress::content(file, context.content, findings));
    let tunnels = file.egress.as_ref().map(|file| egress::tunnels(file, findings));
    let reach = Reach { grant: grant.as_ref(), context };
    let route = file.route.as_ref().and_then(|file| route::route(name, file, &reach, findings));
    let (owner, grant, route) = (file.owner.as_deref()?.into(), grant?, route?);
    let hops = route.entries().flat_map(|entry| entry.hops.iter());
    let reachable: BTreeMap<_, _> = hops.map(|hop| (hop.model().clone(), hop.0.clone())).collect();
    Some(Workflow {
        name: name.clone(),
        owner,
        callers,
        grant,
        route,
        reachable,
        tools,
        limits,
        retention,
        must_survive: own.union(&context.must_survive).cloned().collect(),
        stored_responses,
        content: content?,
        tunnels: tunnels?,
        connections_max,
        priority: file.priority.as_ref().map_or_else(Priority::default, |priority| priority.value),
    })
}

/// Compiles the fields of one list.
pub(super) fn must_survive(names: &[Spanned<String>], findings: &mut Findings) -> BTreeSet<String> {
    let places = names.iter().map(|name| (name.at, &name.value));
    refuse_repetition(places, |name| format!("`{name}` is already in this list"), findings);
    names.iter().map(|name| name.value.clone()).collect()
}

/// Compiles the patterns of one `tools`.
pub(super) fn tools(file: &ToolsFile, findings: &mut Findings) -> ToolRules {
    let ToolsFile { allow, deny } = file;
    let allow = allow.as_ref().map(|allow| globs(allow, str::to_owned, findings));
    ToolRules { allow: allow.into_iter().collect(), deny: globs(deny, str::to_ascii_lowercase, findings) }
}

fn globs(patterns: &[Spanned<String>], spell: fn(&str) -> String, findings: &mut Findings) -> Vec<Glob> {
    let spelled = patterns.iter().map(|pattern| (pattern.at, spell(&pattern.value)));
    refuse_repetition(spelled.clone(), |pattern| format!("`{pattern}` is already in this list"), findings);
    let mut globs: Vec<Glob> = spelled.map(|(_, pattern)| Glob::new(&pattern)).collect();
    globs.sort_unstable();
    globs
}

/// Adds the rules of a workflow to those of the defaults. What is denied adds up, and what is allowed is allowed by
/// both.
fn tightened(floor: &ToolRules, own: ToolRules) -> ToolRules {
    let mut rules = floor.clone();
    rules.allow.extend(own.allow);
    rules.allow.sort_unstable();
    rules.allow.dedup();
    rules.deny.extend(own.deny);
    rules.deny.sort_unstable();
    rules.deny.dedup();
    rules
}

fn limits(own: &LimitsFile, floor: &Limits, findings: &mut Findings) -> Limits {
    let LimitsFile { max_body_bytes, stream_idle, total, connections: _ } = own;
    Limits {
        max_body_bytes: at_most(
            "max_body",
            max_body_bytes.as_ref(),
            floor.max_body_bytes,
            show_size,
            findings,
        ),
        stream_idle: at_most("stream_idle", stream_idle.as_ref(), floor.stream_idle, show_duration, findings),
        total: at_most("total", total.as_ref(), floor.total, show_duration, findings),
    }
}

fn at_most<T: Copy + PartialOrd>(
    key: &str,
    own: Option<&Spanned<T>>,
    floor: T,
    show: fn(T) -> String,
    findings: &mut Findings,
) -> T {
    let Some(Spanned { value, at }) = own else { return floor };
    if *value > floor {
        let message =
            format!("`{key}: {}` is more than the {} of `defaults.limits`", show(*value), show(floor));
        findings.error_with_hint(*at, message, "a workflow may only tighten the defaults");
    }
    *value
}

fn retention(own: Option<&Spanned<Duration>>, floor: Duration, findings: &mut Findings) -> Duration {
    let Some(Spanned { value, at }) = own else { return floor };
    if *value < floor {
        let (own, floor) = (show_duration(*value), show_duration(floor));
        let message = format!("`retention: {own}` is less than the {floor} of `defaults.audit`");
        findings.error_with_hint(*at, message, "a workflow may only keep records longer than the defaults");
    }
    *value
}
