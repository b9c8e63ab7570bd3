//! What a policy file says that its author most likely did not mean, or would not want to have said.
//!
//! Each lint is a question about a file that loads, so each is a warning. Deliberately absent: taste. Nothing here is
//! about order, names or layout, and every warning names what to change to be rid of it.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::auth::{Auth, SecretRef};
use crate::diagnostic::{Findings, Position, Spanned};
use crate::file::{
    CallerFile, File, HostFile, KeyFile, Named, ProviderFile, RouteFile, WhenWritten, WorkflowFile,
};
use crate::glob::Glob;
use crate::host::HostPattern;
use crate::locality::{EgressMode, Locality};
use crate::moment::Moment;
use crate::name::WorkflowName;
use crate::policy::Contents;
use crate::provider::{Destination, Provider};
use crate::tunnel::TunnelMode;
use crate::window::Window;
use crate::workflow::When;

/// What is known of the tests of a policy file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tests {
    /// There is no file of tests.
    Missing,
    /// There is one, and it has cases for these workflows.
    Of(BTreeSet<String>),
    /// Nothing is known, so nothing is said about it.
    Unknown,
}

/// How long before its end a key is warned of: enough for a holder who is on leave.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);
/// Most names that one warning lists.
const NAMES_SHOWN_MAX: usize = 5;

/// Looks over a file that has no error.
pub(crate) fn lint(file: &File, contents: &Contents, findings: &mut Findings) {
    for Named { name, .. } in &file.providers {
        if let Some(Provider::Http(destination)) = contents.providers.get(&name.value) {
            destination_lints(destination, name.at, findings);
        }
    }
    unused(file, findings);
    unused_proxies(file, findings);
    for Named { name, body } in &file.workflows {
        let Some(body) = body else { continue };
        loopback(&name.value, body, findings);
        wide_hosts(body, contents, findings);
        tunnels(&name.value, body, findings);
        if let Some(route) = &body.route {
            unreachable(&route.value, findings);
        }
    }
}

fn destination_lints(destination: &Destination, at: Position, findings: &mut Findings) {
    let name = &destination.provider;
    // The compiler itself warns of hosted providers.
    if destination.locality == Locality::Dedicated && destination.region.is_none() {
        let hint = "write `region: …`, so that records say where the data went";
        findings.warning(at, format!("the dedicated provider `{name}` has no region"), hint);
    }
    for secret in secrets(&destination.auth) {
        let SecretRef::Env(variable) = secret else { continue };
        let message = format!("the provider `{name}` takes a secret from the environment (`{variable}`)");
        let hint = "a variable is seen by child processes and in crash reports, and is never read again: name a \
                    file (`…_file`)";
        findings.warning(at, message, hint);
    }
}

fn secrets(auth: &Auth) -> Vec<&SecretRef> {
    match auth {
        Auth::None => Vec::new(),
        Auth::Bearer(secret) | Auth::Google(secret) => vec![secret],
        Auth::Headers(headers) => headers.iter().map(|(_, secret)| secret).collect(),
        Auth::SigV4(sigv4) => {
            [Some(sigv4.access_key_id()), Some(sigv4.secret_access_key()), sigv4.session_token()]
                .into_iter()
                .flatten()
                .collect()
        }
    }
}

/// Warns of proxies that no provider names.
fn unused_proxies(file: &File, findings: &mut Findings) {
    let named: BTreeSet<&str> = file
        .providers
        .iter()
        .filter_map(|provider| match provider.body.as_ref()? {
            ProviderFile::Http(body) => body.proxy.as_ref().map(|proxy| proxy.value.as_str()),
            ProviderFile::Engine { .. } => None,
        })
        .collect();
    for Named { name, .. } in &file.proxies {
        if !named.contains(name.value.as_str()) {
            let message = format!("no provider goes through the proxy `{}`", name.value);
            findings.warning(name.at, message, "name it in a provider, or remove it");
        }
    }
}

/// Warns of models that no route names and of providers that no model names.
fn unused(file: &File, findings: &mut Findings) {
    let workflows = file.workflows.iter().filter_map(|workflow| workflow.body.as_ref());
    let entries =
        workflows.filter_map(|body| body.route.as_ref()).flat_map(|route| route.value.iter().flatten());
    let models: BTreeSet<&str> = entries
        .flat_map(|entry| entry.to.iter().chain(&entry.shadow))
        .map(|name| name.value.as_str())
        .collect();
    for Named { name, .. } in &file.models {
        if !models.contains(name.value.as_str()) {
            let message = format!("no route leads to the model `{}`", name.value);
            findings.warning(name.at, message, "name it in a `route`, or remove it");
        }
    }
    let bodies = file.models.iter().filter_map(|model| model.body.as_ref());
    let providers: BTreeSet<&str> = bodies.map(|body| body.provider.value.as_str()).collect();
    for Named { name, .. } in &file.providers {
        if !providers.contains(name.value.as_str()) {
            let message = format!("no model is served by the provider `{}`", name.value);
            findings.warning(name.at, message, "name it in a model, or remove it");
        }
    }
}

fn loopback(name: &WorkflowName, body: &WorkflowFile, findings: &mut Findings) {
    let is_sealed = body.egress.as_ref().is_none_or(|egress| egress.mode.value == EgressMode::Sealed);
    if is_sealed {
        return;
    }
    for caller in body.callers.iter().filter(|caller| matches!(caller.value, CallerFile::Loopback)) {
        let message = format!("every process on this machine may send through `{name}`, which is not sealed");
        findings.warning(caller.at, message, "give each caller a key: `portcullis key new ID`");
    }
}

/// Warns of wildcards that admit more than one provider: who adds the next one would not think of this workflow.
fn wide_hosts(body: &WorkflowFile, contents: &Contents, findings: &mut Findings) {
    let egress = body.egress.as_ref().filter(|egress| egress.mode.value == EgressMode::Allowlist);
    let hosts = egress.and_then(|egress| egress.hosts.as_ref());
    for HostFile { host: pattern, ports } in hosts.iter().flat_map(|hosts| &hosts.value) {
        if matches!(pattern.value, HostPattern::Exact(_)) {
            continue;
        }
        let has_port = |port: u16| {
            ports.as_ref().is_none_or(|ports| ports.ports.iter().any(|listed| listed.value == port))
        };
        let matching = contents.providers.values().filter_map(|provider| match provider {
            Provider::Http(to) if pattern.value.matches(&to.host) && has_port(to.port) => {
                Some(provider.name().as_ref())
            }
            Provider::Http(_) | Provider::Engine { .. } => None,
        });
        let names: Vec<&str> = matching.collect();
        if names.len() > 1 {
            let message = format!("`{}` lets in {} providers: {}", pattern.value, names.len(), shown(&names));
            findings.warning(pattern.at, message, "name the providers under `providers`, or each host");
        }
    }
}

/// Warns of connections that are reported without an end, and of callers that may come and reach nothing.
fn tunnels(name: &WorkflowName, body: &WorkflowFile, findings: &mut Findings) {
    let Some(egress) = &body.egress else { return };
    let mode = egress.tunnels.as_ref();
    if let Some(Spanned { value: TunnelMode::Report { until: None }, at }) = mode {
        let message =
            format!("agents of `{name}` reach every host for as long as `tunnels: report` stands here");
        let hint = "give it an end: `tunnels: { mode: report, until: 2027-01-31 }`";
        findings.warning(*at, message, hint);
    }
    let has_hosts = egress.hosts.as_ref().is_some_and(|hosts| !hosts.value.is_empty());
    if has_hosts || matches!(mode, Some(Spanned { value: TunnelMode::Report { .. }, .. })) {
        return;
    }
    for caller in body.callers.iter().filter(|caller| matches!(caller.value, CallerFile::Source(_))) {
        let message = format!("a `source` is let in to tunnels alone, and `{name}` has none");
        findings.warning(caller.at, message, "name what it may reach in `egress.hosts`, or remove it");
    }
}

/// Warns of a time for learning that is over.
pub(crate) fn reported(file: &File, now: Moment, findings: &mut Findings) {
    for Named { name, body } in &file.workflows {
        let tunnels = body.as_ref().and_then(|body| body.egress.as_ref()?.tunnels.as_ref());
        if let Some(Spanned { value: TunnelMode::Report { until: Some(until) }, at }) = tunnels
            && *until <= now
        {
            let message = format!("`tunnels: report` of `{}` ended on {until}, and refuses", name.value);
            findings.warning(*at, message, "remove it, or write a later `until`");
        }
    }
}

fn shown(names: &[&str]) -> String {
    let list: Vec<String> = names.iter().take(NAMES_SHOWN_MAX).map(|name| format!("`{name}`")).collect();
    let more = if names.len() > NAMES_SHOWN_MAX { ", …" } else { "" };
    format!("{}{more}", list.join(", "))
}

/// Warns of entries that the ones before them leave nothing to.
fn unreachable(entries: &[Option<RouteFile>], findings: &mut Findings) {
    let mut before: Vec<(usize, &When)> = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        let Some(RouteFile { at, when: WhenWritten::If(when), .. }) = entry else { continue };
        if let Some(takers) = takers(&before, when) {
            let takers: Vec<String> = takers.iter().map(|index| format!("`route[{index}]`")).collect();
            let verb = if takers.len() == 1 { "takes" } else { "take" };
            let message =
                format!("no call gets here: {} {verb} all that this `when` means", takers.join(" and "));
            findings.warning(*at, message, "move it up, narrow what stands before it, or remove it");
        }
        before.push((index, when));
    }
}

/// Returns which of the entries `before` together take every call that `when` means, if they do.
///
/// A call is some facts to a route. Prompts only have an upper bound, so the longest one decides for all. Tools and
/// images are two cases each, and time changes nothing but where some hours begin or end. In each such case one entry
/// has to take all: patterns of models and tasks together cover others only if one pair does alone.
fn takers(before: &[(usize, &When)], when: &When) -> Option<BTreeSet<usize>> {
    let windows =
        before.iter().map(|(_, earlier)| *earlier).chain([when]).filter_map(|one| one.time.as_ref());
    let times: BTreeSet<u64> = windows.flat_map(Window::turns).chain([0]).collect();
    let times =
        times.into_iter().filter(|time| when.time.as_ref().is_none_or(|window| window.contains(*time)));
    let cases = times.flat_map(|time| {
        [(true, true), (true, false), (false, true), (false, false)].map(|(tools, images)| Case {
            tools,
            images,
            time,
        })
    });
    let cases = cases.filter(|case| case.is_meant_by(when));
    let mut takers = BTreeSet::new();
    for case in cases {
        let taker = before.iter().find(|(_, earlier)| case.is_meant_by(earlier) && takes(earlier, when));
        takers.insert(taker?.0);
    }
    (!takers.is_empty()).then_some(takers)
}

/// The facts of a call that have few values.
#[derive(Clone, Copy)]
struct Case {
    tools: bool,
    images: bool,
    /// In seconds since 1970.
    time: u64,
}

impl Case {
    fn is_meant_by(self, when: &When) -> bool {
        let Self { tools, images, time } = self;
        when.tools.is_none_or(|only| only == tools)
            && when.images.is_none_or(|only| only == images)
            && when.time.as_ref().is_none_or(|window| window.contains(time))
    }
}

/// Returns whether `earlier` takes every call of `later` whose other facts it means.
fn takes(earlier: &When, later: &When) -> bool {
    // A new condition has to be thought of here or in `Case`: a rule that does not know it would take it for none.
    let When { model, tools: _, input_tokens_max, images: _, task, time: _ } = earlier;
    let takes_model = match (model, &later.model) {
        (None, _) => true,
        (Some(earlier), Some(later)) => earlier.covers(later),
        (Some(earlier), None) => earlier.covers(&Glob::new("*")),
    };
    let takes_length = match (input_tokens_max, later.input_tokens_max) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(earlier), Some(later)) => later <= *earlier,
    };
    // A call may name no task, and no pattern matches that.
    let takes_task = match (task, &later.task) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(earlier), Some(later)) => earlier.covers(later),
    };
    takes_model && takes_length && takes_task
}

/// Warns of keys whose time is over, or nearly.
pub(crate) fn expired(file: &File, now: Moment, findings: &mut Findings) {
    let bodies = file.workflows.iter().filter_map(|workflow| workflow.body.as_ref());
    for caller in bodies.flat_map(|body| &body.callers) {
        let CallerFile::ApiKey(KeyFile { id, expires: Some(expires), .. }) = &caller.value else { continue };
        let Spanned { value: expires, at } = expires;
        let hint =
            "make the next one with `portcullis key new`, and remove this one when nobody shows it any more";
        if *expires <= now {
            findings.warning(*at, format!("the key `{}` has expired", id.value), hint);
        } else if *expires <= now.plus(EXPIRES_SOON) {
            let message =
                format!("the key `{}` expires within {} days", id.value, EXPIRES_SOON.as_secs() / 86_400);
            findings.warning(*at, message, hint);
        }
    }
}

/// Warns of workflows that no test is about.
pub(crate) fn untested(file: &File, tests: &Tests, findings: &mut Findings) {
    let tested = match tests {
        Tests::Unknown => return,
        Tests::Missing => {
            if let Some(first) = file.workflows.first() {
                let hint = "write `routes_test.yaml` beside the policy, and run `portcullis test`";
                findings.warning(first.name.at, "no workflow has a test", hint);
            }
            return;
        }
        Tests::Of(tested) => tested,
    };
    for Named { name, .. } in &file.workflows {
        if !tested.contains(name.value.as_str()) {
            let message = format!("the workflow `{}` has no test", name.value);
            findings.warning(name.at, message, "add a case for it, and run `portcullis test`");
        }
    }
}
