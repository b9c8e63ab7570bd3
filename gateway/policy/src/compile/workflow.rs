//! Workflows: no route leads where the grant does not, and no limit is wider than the floor.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Context, caller, refuse_repetition, resolve, sorted};
use crate::admitted::{Hop, Limits};
use crate::diagnostic::{Findings, Position, Spanned};
use crate::file::{
    EgressFile, LimitsFile, RouteFile, StoredResponsesFile, WhenFile, WhenWritten, WorkflowFile,
};
use crate::grant::{Grant, Refused};
use crate::host::HostPattern;
use crate::locality::EgressMode;
use crate::model::Model;
use crate::name::WorkflowName;
use crate::provider::Provider;
use crate::unit::{show_duration, show_size};
use crate::workflow::{Entry, Route, StoredResponses, When, Workflow};

/// Compiles one workflow.
pub(super) fn workflow(
    name: &WorkflowName,
    file: &WorkflowFile,
    context: &Context,
    findings: &mut Findings,
) -> Option<Workflow> {
    let callers = caller::callers(&file.callers, findings);
    let limits = limits(&file.limits, &context.limits, findings);
    let retention = retention(file.audit.retention.as_ref(), context.retention, findings);
    let own = must_survive(&file.must_survive, findings);
    let stored_responses = file.stored_responses.as_ref().map(|file| {
        let StoredResponsesFile { keep, max_bytes } = *file;
        StoredResponses { keep, max_bytes }
    });
    let grant = file.egress.as_ref().and_then(|egress| grant(egress, context, findings));
    let reach = Reach { grant: grant.as_ref(), context };
    let route = file.route.as_ref().and_then(|file| route(name, file, &reach, findings));
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
        limits,
        retention,
        must_survive: own.union(&context.must_survive).cloned().collect(),
        stored_responses,
    })
}

/// Compiles the fields of one list.
pub(super) fn must_survive(names: &[Spanned<String>], findings: &mut Findings) -> BTreeSet<String> {
    let places = names.iter().map(|name| (name.at, &name.value));
    refuse_repetition(places, |name| format!("`{name}` is already in this list"), findings);
    names.iter().map(|name| name.value.clone()).collect()
}

fn grant(file: &EgressFile, context: &Context, findings: &mut Findings) -> Option<Grant> {
    let mode = file.mode.value;
    if let (EgressMode::Sealed, Some(providers)) = (mode, &file.providers) {
        let hint = "a sealed workflow reaches the local providers, and no others";
        findings.error_with_hint(providers.at, "`providers` does not apply to `mode: sealed`", hint);
    }
    if let (EgressMode::Sealed | EgressMode::Hosted, Some(hosts)) = (mode, &file.hosts) {
        let message = format!("`hosts` does not apply to `mode: {mode}`");
        findings.error_with_hint(hosts.at, message, "only `mode: allowlist` names hosts");
    }
    let references = file.providers.iter().flat_map(|providers| &providers.value);
    // All are looked up before any is missed.
    let providers: Vec<Option<&Provider>> =
        references.map(|reference| resolve(&context.providers, reference, "provider", findings)).collect();
    let providers =
        providers.into_iter().map(|provider| Some(provider?.name().clone())).collect::<Option<_>>();
    let hosts = file.hosts.as_ref().map(|hosts| hosts.value.as_slice()).unwrap_or_default();
    for pattern in hosts {
        check_declared(pattern, context, findings);
    }
    Some(Grant { mode, providers: providers?, hosts: sorted(hosts) })
}

fn check_declared(pattern: &Spanned<HostPattern>, context: &Context, findings: &mut Findings) {
    let Spanned { value: pattern, at } = pattern;
    let may_match = |provider: &Option<Provider>| match provider {
        Some(Provider::Http(destination)) => pattern.matches(&destination.host),
        Some(Provider::Engine { .. }) => false,
        // It was wrong, so its host is not known.
        None => true,
    };
    if !context.providers.values().any(may_match) {
        let hint = "nothing reaches a host that no provider declares";
        findings.error_with_hint(*at, format!("no provider has a host that matches `{pattern}`"), hint);
    }
}

/// What the entries of a route are checked against.
struct Reach<'c> {
    /// Absent if it was wrong, and what it allows is therefore not known.
    grant: Option<&'c Grant>,
    context: &'c Context,
}

fn route(
    name: &WorkflowName,
    file: &Spanned<Vec<Option<RouteFile>>>,
    reach: &Reach<'_>,
    findings: &mut Findings,
) -> Option<Route> {
    check_order(file, findings);
    let mut conditional = Vec::new();
    let mut otherwise = None;
    for (index, part) in file.value.iter().enumerate() {
        let Some(part) = part else { continue };
        let Some(hops) = hops(&part.to, reach, findings) else { continue };
        let rule = format!("workflows.{name}.route[{index}]").into();
        let entry = Entry { rule, hops: hops.into() };
        match &part.when {
            WhenWritten::If(WhenFile { model, tools, input_tokens_max }) => {
                let (model, tools, input_tokens_max) = (model.clone(), *tools, *input_tokens_max);
                conditional.push((When { model, tools, input_tokens_max }, entry));
            }
            WhenWritten::Always => otherwise = Some(entry),
            WhenWritten::Wrong => {}
        }
    }
    otherwise.map(|otherwise| Route { conditional, otherwise })
}

/// Checks that the last entry, and no other, takes every call.
fn check_order(file: &Spanned<Vec<Option<RouteFile>>>, findings: &mut Findings) {
    let takes_all =
        |part: &Option<RouteFile>| matches!(part, Some(part) if matches!(part.when, WhenWritten::Always));
    let end = file.value.iter().position(takes_all);
    if let Some(Some(Some(behind))) = end.map(|end| file.value.get(end + 1)) {
        let hint = "the entry before it has no `when` and takes every call";
        findings.error_with_hint(behind.at, "this entry is never reached", hint);
    }
    // An entry that could not be read at all may have been the one.
    if end.is_none() && !matches!(file.value.last(), Some(None)) {
        let hint = "end it with an entry without `when`, such as `{ to: [model] }`";
        findings.error_with_hint(file.at, "the last entry of `route` must have no `when`", hint);
    }
}

/// Resolves the models of one entry. Each has to be within the workflow's reach, and none may be less strict
/// than the one before it: a fallback must not leak what the first choice would have kept.
fn hops(to: &[Spanned<String>], reach: &Reach<'_>, findings: &mut Findings) -> Option<Vec<Hop>> {
    let names = to.iter().map(|reference| (reference.at, &reference.value));
    refuse_repetition(names, |name| format!("`{name}` is already in this list"), findings);
    let models: Vec<Option<&Arc<Model>>> =
        to.iter().map(|reference| resolve(&reach.context.models, reference, "model", findings)).collect();
    for (model, reference) in models.iter().zip(to) {
        if let Some(model) = model {
            check_reach(model, reference.at, reach, findings);
        }
    }
    for (pair, reference) in models.windows(2).zip(to.iter().skip(1)) {
        let [Some(before), Some(after)] = pair else { continue };
        if after.locality() > before.locality() {
            let message = format!(
                "`{}` ({}) cannot stand in for `{}` ({})",
                after.name(),
                after.locality(),
                before.name(),
                before.locality(),
            );
            let hint = "a fallback goes to an equal or stricter locality: local, dedicated, hosted";
            findings.error_with_hint(reference.at, message, hint);
        }
    }
    models.into_iter().map(|model| model.cloned().map(Hop)).collect()
}

fn check_reach(model: &Model, at: Position, reach: &Reach<'_>, findings: &mut Findings) {
    let Some(grant) = reach.grant else { return };
    let provider = reach.context.providers.get(model.provider()).and_then(Option::as_ref);
    let provider = provider.expect("a model is compiled only with its provider");
    let Err(refused) = grant.permits(provider, &reach.context.deny_hosts) else { return };
    let (name, locality) = (provider.name(), provider.locality());
    let message =
        format!("`{}` of the provider `{name}` ({locality}) is out of reach: {refused}", model.name());
    if refused == Refused::NotNamed {
        let hint = format!("add `{name}` to `providers` under `egress` to allow it");
        findings.error_with_hint(at, message, hint);
    } else {
        findings.error(at, message);
    }
}

fn limits(own: &LimitsFile, floor: &Limits, findings: &mut Findings) -> Limits {
    let LimitsFile { max_body_bytes, stream_idle, total } = own;
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
