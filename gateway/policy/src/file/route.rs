//! The key `route` of a workflow as written: under which conditions a call goes where.

use super::fields::{self, Fields, Reported};
use super::node::Node;
use super::scalar;
use crate::diagnostic::{Findings, Position, Spanned};
use crate::glob::Glob;
use crate::order::{Balance, Retry};
use crate::window::{self, Window};
use crate::workflow::When;

/// One entry of a route.
#[derive(Debug)]
pub(crate) struct RouteFile {
    pub(crate) at: Position,
    pub(crate) when: WhenWritten,
    /// Empty only if it was wrong.
    pub(crate) to: Vec<Spanned<String>>,
    pub(crate) order: OrderFile,
    pub(crate) retry: Retry,
    pub(crate) shadow: Option<Spanned<String>>,
}

/// How an entry chooses among its models.
#[derive(Debug)]
pub(crate) enum OrderFile {
    Listed,
    /// With the weight of each model.
    Split(Spanned<Vec<u32>>),
    Balance(Spanned<Balance>),
}

/// Whether a route entry has conditions.
#[derive(Debug)]
pub(crate) enum WhenWritten {
    Always,
    If(When),
    /// It has some, and they are wrong.
    Wrong,
}

/// Most attempts at one hop. Each waits for the one before it, and the caller waits for all.
const ATTEMPTS_MAX: u32 = 5;
/// Largest weight of a model in a split: fine enough for a hundredth of a percent.
const WEIGHT_MAX: u32 = 10_000;

/// Reads `route`.
pub(super) fn route(node: &Node, findings: &mut Findings) -> Option<Spanned<Vec<Option<RouteFile>>>> {
    let value = fields::items(node, findings, entry)?;
    Some(Spanned { value, at: node.at })
}

fn entry(node: &Node, findings: &mut Findings) -> Option<RouteFile> {
    let mut fields = Fields::open(node, "a route entry", findings)?;
    let when = fields.read("when", findings, when);
    let to = fields.read("to", findings, to);
    let split = fields.read("split", findings, split);
    let balance = fields.read("balance", findings, |node, findings| {
        scalar::word(node, findings, &Balance::ALL, Balance::as_str)
    });
    let retry = fields.read("retry", findings, retry);
    let shadow = fields.read("shadow", findings, scalar::text);
    let written = (fields.has("to"), fields.has("split"));
    fields.close(&[], findings);
    match written {
        (true, true) => {
            let hint = "write `to` for models in order, `split` for models by weight";
            findings.error_with_hint(node.at, "an entry has either `to` or `split`", hint);
        }
        (false, false) => {
            let hint = "write `to: [model]`, or `split: { one: 95, other: 5 }`";
            findings.error_with_hint(node.at, "`to` is missing in a route entry", hint);
        }
        (true, false) | (false, true) => {}
    }
    if let (Ok(Some(balance)), (_, true)) = (&balance, written) {
        let hint = "a split has its weights; `balance` goes with `to`";
        findings.error_with_hint(balance.at, "`balance` does not apply to `split`", hint);
    }
    let when = match when {
        Ok(None) => WhenWritten::Always,
        Ok(Some(when)) => WhenWritten::If(when),
        Err(Reported) => WhenWritten::Wrong,
    };
    // What was wrong is on the list, so that the rest can be checked as if it were not there.
    let balance = balance.ok().flatten().map_or(OrderFile::Listed, OrderFile::Balance);
    let (to, order) = match (to.ok().flatten(), split.ok().flatten()) {
        (Some(to), _) => (to, balance),
        (None, Some((to, weights))) => (to, OrderFile::Split(weights)),
        (None, None) => (Vec::new(), OrderFile::Listed),
    };
    let retry = retry.ok().flatten().unwrap_or_default();
    Some(RouteFile { at: node.at, when, to, order, retry, shadow: shadow.ok().flatten() })
}

fn to(node: &Node, findings: &mut Findings) -> Option<Vec<Spanned<String>>> {
    let to = fields::list(node, findings, scalar::text)?;
    if to.is_empty() {
        findings.error_with_hint(node.at, "`to` names no model", "write at least one, such as `[opus]`");
        return None;
    }
    Some(to)
}

/// Models, and the weight of each.
type Split = (Vec<Spanned<String>>, Spanned<Vec<u32>>);

fn split(node: &Node, findings: &mut Findings) -> Option<Split> {
    let entries = fields::entries(node, "`split`", findings)?;
    if entries.len() < 2 {
        let hint = "write `split: { one: 95, other: 5 }`, or `to: [model]`";
        findings.error_with_hint(node.at, "`split` needs at least two models", hint);
        return None;
    }
    // All are read before any is missed.
    let parts: Vec<Option<(Spanned<String>, u32)>> = entries
        .iter()
        .map(|entry| Some((entry.key.clone(), scalar::count_up_to(WEIGHT_MAX, &entry.value, findings)?)))
        .collect();
    let (models, weights) = parts.into_iter().collect::<Option<Vec<_>>>()?.into_iter().unzip();
    Some((models, Spanned { value: weights, at: node.at }))
}

fn retry(node: &Node, findings: &mut Findings) -> Option<Retry> {
    let mut fields = Fields::open(node, "`retry`", findings)?;
    let attempts = fields.required("attempts", findings);
    let attempts = attempts.and_then(|node| scalar::count_up_to(ATTEMPTS_MAX, node, findings));
    let budget_percent = fields.read("budget", findings, scalar::percent);
    fields.close(&[], findings);
    let budget_percent = budget_percent.ok()?.unwrap_or(Retry::default().budget_percent);
    Some(Retry { attempts: attempts?, budget_percent })
}

fn when(node: &Node, findings: &mut Findings) -> Option<When> {
    let mut fields = Fields::open(node, "`when`", findings)?;
    let model = fields.read("model", findings, glob);
    let tools = fields.read("tools", findings, scalar::switch);
    let input_tokens_max = fields.read("max_input_tokens", findings, scalar::count);
    let images = fields.read("images", findings, scalar::switch);
    let task = fields.read("task", findings, glob);
    let time = fields.read("time", findings, window);
    let written_count = fields.len();
    fields.later(&[("claims", "leave it out; no caller has claims before `jwt` is supported")], findings);
    fields.close(&[], findings);
    if written_count == 0 {
        findings.error_with_hint(node.at, "`when` has no condition", "leave it out of the last entry");
        return None;
    }
    Some(When {
        model: model.ok()?,
        tools: tools.ok()?,
        input_tokens_max: input_tokens_max.ok()?,
        images: images.ok()?,
        task: task.ok()?,
        time: time.ok()?,
    })
}

fn glob(node: &Node, findings: &mut Findings) -> Option<Glob> {
    scalar::text(node, findings).map(|text| Glob::new(&text.value))
}

fn window(node: &Node, findings: &mut Findings) -> Option<Window> {
    let mut fields = Fields::open(node, "`time`", findings)?;
    let from = fields.required("from", findings).and_then(|node| time_of_day(node, findings));
    let to = fields.required("to", findings).and_then(|node| time_of_day(node, findings));
    let ahead = fields.required("zone", findings).and_then(|node| zone(node, findings));
    let days = fields.read("days", findings, days);
    fields.close(&[], findings);
    let (from, to, ahead, days) = (from?, to?, ahead?, days.ok()?.unwrap_or([true; 7]));
    if from == to || from == window::DAY_MINUTES {
        let hint = "write `from: \"00:00\", to: \"24:00\"` for the whole day";
        findings.error_with_hint(node.at, "the hours end where they begin", hint);
        return None;
    }
    // Midnight is the end of the day that it closes.
    let to = if to == 0 { window::DAY_MINUTES } else { to };
    Some(Window { days, from, to, ahead })
}

fn time_of_day(node: &Node, findings: &mut Findings) -> Option<u16> {
    let Spanned { value, at } = scalar::text(node, findings)?;
    let minute = window::minute_of_day(&value);
    if minute.is_none() {
        let hint = "write it as \"08:00\", from \"00:00\" to \"24:00\"";
        findings.error_with_hint(at, format!("`{value}` is not a time of day"), hint);
    }
    minute
}

fn zone(node: &Node, findings: &mut Findings) -> Option<i16> {
    let Spanned { value, at } = scalar::text(node, findings)?;
    let ahead = window::minutes_ahead(&value);
    if ahead.is_none() {
        let hint = "write `UTC`, or an offset such as \"+01:00\"; a zone with summer time means another hour in \
                    another month";
        findings.error_with_hint(at, format!("`{value}` is not a fixed zone"), hint);
    }
    ahead
}

fn days(node: &Node, findings: &mut Findings) -> Option<[bool; 7]> {
    let named = fields::list(node, findings, |node, findings| {
        scalar::word(node, findings, &window::DAYS, |day| day)
    })?;
    if named.is_empty() {
        findings.error_with_hint(node.at, "`days` names no day", "leave it out for every day");
        return None;
    }
    let mut days = [false; 7];
    for Spanned { value, at } in named {
        let index = window::DAYS.iter().position(|day| *day == value).expect("the word is one of them");
        if days[index] {
            let message = format!("`{value}` is already in this list");
            findings.error_with_hint(at, message, "remove one of the two");
        }
        days[index] = true;
    }
    Some(days)
}
