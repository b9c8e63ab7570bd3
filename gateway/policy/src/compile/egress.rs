//! How far a workflow reaches, and what its calls may make others reach.

use super::{Context, network, refuse_repetition, resolve};
use crate::content::{ContentRule, ContentRules};
use crate::diagnostic::{Findings, Spanned};
use crate::file::{ContentFile, EgressFile, HostFile, PortsFile};
use crate::grant::Grant;
use crate::host;
use crate::locality::EgressMode;
use crate::provider::Provider;
use crate::tunnel::{HostPorts, HostRule, TunnelMode};

/// Compiles what a workflow may dial.
pub(super) fn grant(file: &EgressFile, context: &Context, findings: &mut Findings) -> Option<Grant> {
    let mode = file.mode.value;
    if let (EgressMode::Sealed, Some(providers)) = (mode, &file.providers) {
        let hint = "a sealed workflow reaches the local providers, and no others";
        findings.error_with_hint(providers.at, "`providers` does not apply to `mode: sealed`", hint);
    }
    if let (EgressMode::Sealed, Some(hosts)) = (mode, &file.hosts) {
        let hint = "a sealed workflow reaches the local providers, and no host besides";
        findings.error_with_hint(hosts.at, "`hosts` does not apply to `mode: sealed`", hint);
    }
    let references = file.providers.iter().flat_map(|providers| &providers.value);
    // All are looked up before any is missed.
    let providers: Vec<Option<&Provider>> =
        references.map(|reference| resolve(&context.providers, reference, "provider", findings)).collect();
    let providers =
        providers.into_iter().map(|provider| Some(provider?.name().clone())).collect::<Option<_>>();
    let hosts = file.hosts.iter().flat_map(|hosts| &hosts.value);
    let mut hosts: Vec<HostRule> = hosts.map(|host| host_rule(host, findings)).collect();
    hosts.sort_unstable();
    hosts.dedup();
    Some(Grant { mode, providers: providers?, hosts })
}

fn host_rule(file: &HostFile, findings: &mut Findings) -> HostRule {
    let HostFile { host: Spanned { value: host, at }, ports } = file;
    let Some(PortsFile { ports, plain, cidrs }) = ports else { return HostRule::Host(host.clone()) };
    let places = ports.iter().map(|port| (port.at, port.value));
    refuse_repetition(places, |port| format!("the port {port} is already in this list"), findings);
    let cidrs = network::networks(cidrs, "the host's addresses", findings);
    if let Some(address) = host.exact().and_then(host::address)
        && !cidrs.iter().any(|network| network.contains(&address))
        && (network::is_private(address) || !cidrs.is_empty())
    {
        let message = format!("the address {address} is in none of the entry's `cidrs`");
        findings.error_with_hint(*at, message, "write the network that it is in under `cidrs`");
    }
    let mut ports: Vec<u16> = ports.iter().map(|port| port.value).collect();
    ports.sort_unstable();
    HostRule::Ports(HostPorts { host: host.clone(), ports, plain: *plain, cidrs })
}

/// Compiles what becomes of connections that no rule allows.
pub(super) fn tunnels(file: &EgressFile, findings: &mut Findings) -> TunnelMode {
    let Some(Spanned { value, at }) = file.tunnels else { return TunnelMode::Enforce };
    if let (EgressMode::Sealed, TunnelMode::Report { .. }) = (file.mode.value, value) {
        let hint = "leave `tunnels` out: nothing is learnt from a workflow that reaches no host";
        findings.error_with_hint(at, "`tunnels: report` does not apply to `mode: sealed`", hint);
    }
    value
}

/// Compiles the floor for content, which holds where a workflow is not sealed.
pub(super) fn floor(file: &ContentFile) -> ContentRules {
    let rule =
        |rule: &Option<Spanned<ContentRule>>| rule.as_ref().map_or(ContentRule::Pass, |rule| rule.value);
    let ContentFile { urls, hosted_tools, stored_state, unknown_fields } = file;
    ContentRules {
        urls: rule(urls),
        hosted_tools: rule(hosted_tools),
        stored_state: rule(stored_state),
        unknown_fields: rule(unknown_fields),
    }
}

/// Compiles what a workflow says about content; a sealed one has nothing to say.
pub(super) fn content(file: &EgressFile, floor: ContentRules, findings: &mut Findings) -> ContentRules {
    let mode = file.mode.value;
    let floor = if mode == EgressMode::Sealed { ContentRules::REFUSE } else { floor };
    let mut rule = |key: &str, own: &Option<Spanned<ContentRule>>, floor: ContentRule| {
        let Some(Spanned { value, at }) = own else { return floor };
        if *value > floor && mode == EgressMode::Sealed {
            let hint = "leave it out: nothing that makes others dial leaves a sealed workflow";
            let message = format!("`{key}: {}` does not apply to `mode: sealed`", value.as_str());
            findings.error_with_hint(*at, message, hint);
        } else if *value > floor {
            let message = format!("`{key}: {}` is more than `defaults.egress` allows", value.as_str());
            findings.error_with_hint(*at, message, "a workflow may only tighten the defaults");
        }
        *value
    };
    let ContentFile { urls, hosted_tools, stored_state, unknown_fields } = &file.content;
    ContentRules {
        urls: rule("content_urls", urls, floor.urls),
        hosted_tools: rule("hosted_tools", hosted_tools, floor.hosted_tools),
        stored_state: rule("stored_state", stored_state, floor.stored_state),
        unknown_fields: rule("unknown_fields", unknown_fields, floor.unknown_fields),
    }
}
