//! The policy file as meant: names resolved, rules enforced.
//!
//! This is the second reading. It reports everything that it finds and goes on with what is left, so its result
//! is complete only if nothing was reported.

mod base_url;
mod caller;
mod egress;
mod network;
mod provider;
mod proxy;
mod route;
mod workflow;

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::admitted::Limits;
use crate::content::ContentRules;
use crate::diagnostic::{Findings, Position, Spanned};
use crate::file::{DefaultsFile, File, Named};
use crate::host::HostPattern;
use crate::model::Model;
use crate::name::{ModelName, ProviderName};
use crate::policy::Contents;
use crate::provider::Provider;
use crate::tools::ToolRules;

/// Limits of a file that sets none.
const LIMITS: Limits = Limits {
    max_body_bytes: 8 * 1024 * 1024,
    stream_idle: Duration::from_secs(60),
    total: Duration::from_secs(10 * 60),
};
/// Connections of a workflow in a file that sets no limit: as many as there are calls in one process.
pub(crate) const CONNECTIONS: u32 = 4096;
/// Retention of records in a file that sets none: a year and a month, so that last year's can be compared.
const RETENTION: Duration = Duration::from_secs(400 * 24 * 60 * 60);

/// Declared parts by name. A part that is declared and wrong has no value: a reference to it is not a second
/// mistake.
type Table<N, T> = BTreeMap<N, Option<T>>;

/// What workflows are checked against.
struct Context {
    deny_hosts: Vec<HostPattern>,
    providers: Table<ProviderName, Provider>,
    models: Table<ModelName, Arc<Model>>,
    tools: ToolRules,
    limits: Limits,
    connections_max: u32,
    content: ContentRules,
    retention: Duration,
    must_survive: BTreeSet<String>,
}

/// Compiles `file`. The result is to be used only if `findings` has no error.
pub(crate) fn compile(file: &File, findings: &mut Findings) -> Contents {
    let DefaultsFile { deny_hosts, tools, limits, audit, content, must_survive } = &file.defaults;
    let deny_hosts = sorted(deny_hosts);
    let connections_max = limits.connections.as_ref().map_or(CONNECTIONS, |limit| limit.value);
    let limits = Limits {
        max_body_bytes: limits.max_body_bytes.as_ref().map_or(LIMITS.max_body_bytes, |limit| limit.value),
        stream_idle: limits.stream_idle.as_ref().map_or(LIMITS.stream_idle, |limit| limit.value),
        total: limits.total.as_ref().map_or(LIMITS.total, |limit| limit.value),
    };
    let retention = audit.retention.as_ref().map_or(RETENTION, |retention| retention.value);
    let must_survive = workflow::must_survive(must_survive, findings);
    let tools = workflow::tools(tools, findings);

    let proxies: Table<_, _> =
        table(&file.proxies, |name, body| proxy::proxy(&name.value, body, findings).map(Arc::new));
    let providers: Table<_, _> =
        table(&file.providers, |name, body| provider::provider(name, body, &proxies, findings));
    let models = table(&file.models, |name, body| {
        provider::model(&name.value, body, &providers, findings).map(Arc::new)
    });
    let content = egress::floor(content);
    let context = Context {
        deny_hosts,
        providers,
        models,
        tools,
        limits,
        connections_max,
        content,
        retention,
        must_survive,
    };
    let workflows =
        table(&file.workflows, |name, body| workflow::workflow(&name.value, body, &context, findings));
    caller::check(&file.workflows, findings);
    Contents {
        deny_hosts: context.deny_hosts,
        proxies: values(proxies),
        providers: values(context.providers),
        models: values(context.models),
        workflows: values(workflows),
    }
}

fn table<N: Ord + Clone, B, T>(
    parts: &[Named<N, B>],
    mut compile: impl FnMut(&Spanned<N>, &B) -> Option<T>,
) -> Table<N, T> {
    let compile = |Named { name, body }: &Named<N, B>| {
        let value = body.as_ref().and_then(|body| compile(name, body));
        (name.value.clone(), value)
    };
    parts.iter().map(compile).collect()
}

fn values<N: Ord, T>(table: Table<N, T>) -> BTreeMap<N, T> {
    table.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

fn sorted(patterns: &[Spanned<HostPattern>]) -> Vec<HostPattern> {
    let mut patterns: Vec<HostPattern> = patterns.iter().map(|pattern| pattern.value.clone()).collect();
    patterns.sort_unstable();
    patterns.dedup();
    patterns
}

/// Finds what `reference` names; `what` says what kind of part that is.
fn resolve<'t, N: Ord + Borrow<str>, T>(
    table: &'t Table<N, T>,
    reference: &Spanned<String>,
    what: &str,
    findings: &mut Findings,
) -> Option<&'t T> {
    let found = table.get(reference.value.as_str());
    if found.is_none() {
        let message = format!("there is no {what} `{}`", reference.value);
        findings.unknown(reference.at, message, &reference.value, table.keys().map(Borrow::borrow));
    }
    found?.as_ref()
}

/// Reports items that stand in a list twice.
fn refuse_repetition<T: Ord>(
    items: impl Iterator<Item = (Position, T)>,
    message: impl Fn(&T) -> String,
    findings: &mut Findings,
) {
    let mut seen = BTreeSet::new();
    for (at, item) in items {
        if let Some(item) = seen.replace(item) {
            findings.error_with_hint(at, message(&item), "remove one of the two");
        }
    }
}
