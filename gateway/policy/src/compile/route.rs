//! Routes: no entry leads where the workflow's grant does not, and none falls back to a less strict place.

use std::sync::Arc;

use super::{Context, refuse_repetition, resolve};
use crate::admitted::Hop;
use crate::diagnostic::{Findings, Position, Spanned};
use crate::file::{OrderFile, RouteFile, WhenWritten};
use crate::grant::{Grant, Refused};
use crate::model::Model;
use crate::name::WorkflowName;
use crate::order::{Balance, Order};
use crate::workflow::{Entry, Route};

/// What the entries of a route are checked against.
pub(super) struct Reach<'c> {
    /// Absent if it was wrong, and what it allows is therefore not known.
    pub(super) grant: Option<&'c Grant>,
    pub(super) context: &'c Context,
}

/// Compiles the route of one workflow.
pub(super) fn route(
    name: &WorkflowName,
    file: &Spanned<Vec<Option<RouteFile>>>,
    reach: &Reach<'_>,
    findings: &mut Findings,
) -> Option<Route> {
    check_sequence(file, findings);
    let mut conditional = Vec::new();
    let mut otherwise = None;
    for (index, part) in file.value.iter().enumerate() {
        let Some(part) = part else { continue };
        let rule = format!("workflows.{name}.route[{index}]");
        let Some(entry) = entry(rule, part, reach, findings) else { continue };
        let entry = Arc::new(entry);
        match &part.when {
            WhenWritten::If(when) => conditional.push((when.clone(), entry)),
            WhenWritten::Always => otherwise = Some(entry),
            WhenWritten::Wrong => {}
        }
    }
    otherwise.map(|otherwise| Route { conditional, otherwise })
}

/// Checks that the last entry, and no other, takes every call.
fn check_sequence(file: &Spanned<Vec<Option<RouteFile>>>, findings: &mut Findings) {
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

/// Resolves the models of one entry. Each has to be within the workflow's reach.
fn entry(rule: String, file: &RouteFile, reach: &Reach<'_>, findings: &mut Findings) -> Option<Entry> {
    let names = file.to.iter().map(|reference| (reference.at, &reference.value));
    refuse_repetition(names, |name| format!("`{name}` is already in this list"), findings);
    let hops: Vec<Option<Hop>> = file.to.iter().map(|reference| hop(reference, reach, findings)).collect();
    match &file.order {
        OrderFile::Listed => check_fallback(&hops, &file.to, findings),
        OrderFile::Split(Spanned { at, .. }) => check_equal("split", *at, &hops, findings),
        OrderFile::Balance(balance) => check_balance(balance, &hops, findings),
    }
    // That a shadow which could not be resolved is missing from the entry does no harm: the policy does not load.
    let shadow = file.shadow.as_ref().and_then(|name| shadow(name, &hops, reach, findings));
    let (hops, order) = ordered(hops.into_iter().collect::<Option<_>>()?, &file.order);
    Some(Entry { rule, hops, order, retry: file.retry, shadow })
}

fn hop(reference: &Spanned<String>, reach: &Reach<'_>, findings: &mut Findings) -> Option<Hop> {
    let model = resolve(&reach.context.models, reference, "model", findings)?;
    check_reach(model, reference.at, reach, findings);
    Some(Hop(model.clone()))
}

/// Brings the models of a split into one order whatever the order of the keys, with the heaviest first.
fn ordered(hops: Vec<Hop>, order: &OrderFile) -> (Vec<Hop>, Order) {
    match order {
        OrderFile::Listed => (hops, Order::Listed),
        OrderFile::Balance(balance) => (hops, Order::Balance(balance.value)),
        OrderFile::Split(weights) => {
            let mut parts: Vec<(u32, Hop)> = weights.value.iter().copied().zip(hops).collect();
            parts.sort_by(|(a, hop_a), (b, hop_b)| b.cmp(a).then_with(|| hop_a.model().cmp(hop_b.model())));
            let (weights, hops): (Vec<u32>, Vec<Hop>) = parts.into_iter().unzip();
            (hops, Order::Split(weights.into()))
        }
    }
}

/// Checks that no model is less strict than the one before it: a fallback must not leak what the first choice would
/// have kept.
fn check_fallback(hops: &[Option<Hop>], to: &[Spanned<String>], findings: &mut Findings) {
    for (pair, reference) in hops.windows(2).zip(to.iter().skip(1)) {
        let [Some(before), Some(after)] = pair else { continue };
        if after.locality() > before.locality() {
            let message = format!(
                "`{}` ({}) cannot stand in for `{}` ({})",
                after.model(),
                after.locality(),
                before.model(),
                before.locality(),
            );
            let hint = "a fallback goes to an equal or stricter locality: local, dedicated, hosted";
            findings.error_with_hint(reference.at, message, hint);
        }
    }
}

fn check_balance(balance: &Spanned<Balance>, hops: &[Option<Hop>], findings: &mut Findings) {
    let Spanned { value, at } = balance;
    if hops.len() == 1 {
        let hint = "name another model in `to`, or leave `balance` out";
        findings.error_with_hint(*at, "`balance` needs at least two models", hint);
    }
    check_equal("balance", *at, hops, findings);
    if *value != Balance::Cost {
        return;
    }
    for hop in hops.iter().flatten().filter(|hop| hop.0.price().is_none()) {
        let message = format!("`balance: cost` compares prices, and `{}` has none", hop.model());
        let hint = "write `price: { input: …, output: … }` in the model";
        findings.error_with_hint(*at, message, hint);
    }
}

/// Checks that all models are equally strict, where nobody knows beforehand which of them comes first.
fn check_equal(key: &str, at: Position, hops: &[Option<Hop>], findings: &mut Findings) {
    let mut known = hops.iter().flatten();
    let Some(first) = known.next() else { return };
    if let Some(other) = known.find(|hop| hop.locality() != first.locality()) {
        let message = format!(
            "`{key}` cannot choose between `{}` ({}) and `{}` ({})",
            first.model(),
            first.locality(),
            other.model(),
            other.locality(),
        );
        let hint = "each may have to stand in for the other, so all models have the same locality";
        findings.error_with_hint(at, message, hint);
    }
}

/// Resolves the model that gets a copy of each call. What a copy tells must not be more than the calls tell.
fn shadow(
    reference: &Spanned<String>,
    hops: &[Option<Hop>],
    reach: &Reach<'_>,
    findings: &mut Findings,
) -> Option<Hop> {
    let Spanned { value: name, at } = reference;
    let shadow = hop(reference, reach, findings)?;
    if hops.iter().flatten().any(|hop| hop.model() == shadow.model()) {
        let message = format!("`{name}` would get a copy of its own calls");
        findings.error_with_hint(*at, message, "name a model that the entry does not lead to");
    }
    let strictest = hops.iter().flatten().min_by_key(|hop| hop.locality());
    if let Some(strictest) = strictest
        && shadow.locality() > strictest.locality()
    {
        let message = format!(
            "the shadow `{name}` ({}) is less strict than `{}` ({})",
            shadow.locality(),
            strictest.model(),
            strictest.locality(),
        );
        let hint = "a copy goes to a locality as strict as the strictest of the entry";
        findings.error_with_hint(*at, message, hint);
    }
    Some(shadow)
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
        let hint = match refused {
            Refused::Sealed => "name a model of a local provider, or open `egress.mode`",
            _ => "name another model",
        };
        findings.error_with_hint(at, message, hint);
    }
}
