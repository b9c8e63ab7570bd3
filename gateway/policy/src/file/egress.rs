//! The key `egress` of a workflow as written, and the part of it that `defaults` may have.

use ipnet::IpNet;

use super::fields::{self, Fields};
use super::node::{Node, NodeKind};
use super::scalar;
use crate::content::ContentRule;
use crate::diagnostic::{Findings, Spanned};
use crate::host::HostPattern;
use crate::locality::EgressMode;
use crate::tunnel::{PORT, TunnelMode};

/// What a workflow may reach.
#[derive(Debug)]
pub(crate) struct EgressFile {
    pub(crate) mode: Spanned<EgressMode>,
    pub(crate) providers: Option<Spanned<Vec<Spanned<String>>>>,
    pub(crate) hosts: Option<Spanned<Vec<HostFile>>>,
    pub(crate) tunnels: Option<Spanned<TunnelMode>>,
    pub(crate) content: ContentFile,
}

/// One entry of `hosts`.
#[derive(Debug)]
pub(crate) struct HostFile {
    pub(crate) host: Spanned<HostPattern>,
    /// Absent where the entry is a text alone.
    pub(crate) ports: Option<PortsFile>,
}

/// Ports of a host, and how they are reached.
#[derive(Debug)]
pub(crate) struct PortsFile {
    pub(crate) ports: Vec<Spanned<u16>>,
    pub(crate) plain: bool,
    pub(crate) cidrs: Vec<Spanned<IpNet>>,
}

/// What was written about content that makes others dial.
#[derive(Debug, Default)]
pub(crate) struct ContentFile {
    pub(crate) urls: Option<Spanned<ContentRule>>,
    pub(crate) hosted_tools: Option<Spanned<ContentRule>>,
    pub(crate) stored_state: Option<Spanned<ContentRule>>,
    pub(crate) unknown_fields: Option<Spanned<ContentRule>>,
}

/// The port of plain HTTP.
const PLAIN_PORT: u16 = 80;

/// Reads `egress` of a workflow.
pub(super) fn egress(node: &Node, findings: &mut Findings) -> Option<EgressFile> {
    let mut fields = Fields::open(node, "`egress`", findings)?;
    let mode = fields
        .required("mode", findings)
        .and_then(|node| scalar::word(node, findings, &EgressMode::ALL, EgressMode::as_str));
    let providers = fields.read("providers", findings, |node, findings| {
        let value = fields::list(node, findings, scalar::text)?;
        Some(Spanned { value, at: node.at })
    });
    let hosts = fields.read("hosts", findings, |node, findings| {
        let value = fields::list(node, findings, host)?;
        Some(Spanned { value, at: node.at })
    });
    let tunnels = fields.read("tunnels", findings, tunnels);
    let content = content(&mut fields, findings);
    let elsewhere = "stands in a provider, or in an entry of `hosts`";
    fields
        .close(&[("cidrs", elsewhere), ("deny_hosts", "stands in `defaults`, for all workflows")], findings);
    Some(EgressFile {
        mode: mode?,
        providers: providers.ok()?,
        hosts: hosts.ok()?,
        tunnels: tunnels.ok()?,
        content: content?,
    })
}

/// Reads `egress` of the defaults: a floor for content, and nothing of reach.
pub(super) fn floor(node: &Node, findings: &mut Findings) -> Option<ContentFile> {
    let mut fields = Fields::open(node, "`egress` of `defaults`", findings)?;
    let content = content(&mut fields, findings);
    let refused = ["mode", "providers", "hosts", "tunnels"].map(|key| (key, "stands in a workflow"));
    fields.close(&refused, findings);
    content
}

fn content(fields: &mut Fields<'_>, findings: &mut Findings) -> Option<ContentFile> {
    let mut rule = |key| fields.read(key, findings, content_rule);
    let [urls, hosted_tools, stored_state, unknown_fields] =
        ["content_urls", "hosted_tools", "stored_state", "unknown_fields"].map(&mut rule);
    Some(ContentFile {
        urls: urls.ok()?,
        hosted_tools: hosted_tools.ok()?,
        stored_state: stored_state.ok()?,
        unknown_fields: unknown_fields.ok()?,
    })
}

fn content_rule(node: &Node, findings: &mut Findings) -> Option<Spanned<ContentRule>> {
    if matches!(&node.kind, NodeKind::Plain(text) | NodeKind::Quoted(text) if text == "inline") {
        let hint = "write `refuse`, and let callers send what the URL holds in the call itself";
        findings.error_with_hint(node.at, "`inline` is specified but not supported yet", hint);
        return None;
    }
    scalar::word(node, findings, &ContentRule::ALL, ContentRule::as_str)
}

fn host(node: &Node, findings: &mut Findings) -> Option<HostFile> {
    if !matches!(node.kind, NodeKind::Map(_)) {
        return Some(HostFile { host: scalar::host_pattern(node, findings)?, ports: None });
    }
    let mut fields = Fields::open(node, "an entry of `hosts`", findings)?;
    let host = fields.required("host", findings).and_then(|node| scalar::host_pattern(node, findings));
    let ports = fields.read("ports", findings, ports);
    let plain = fields.read("plain", findings, |node, findings| {
        let value = scalar::switch(node, findings)?;
        Some(Spanned { value, at: node.at })
    });
    let cidrs = fields.read("cidrs", findings, |node, f| fields::list(node, f, scalar::network));
    fields.later(&[("methods", "leave it out; a request of any method passes")], findings);
    fields.close_with_hint(&[("port", "is a list here")], "write it as `ports: [443]`", findings);
    let (ports, plain) = (ports.ok()?, plain.ok()?);
    let is_plain = plain.as_ref().is_some_and(|plain| plain.value);
    if let (Some(plain), true) = (&plain, is_plain)
        && !ports.iter().flatten().any(|port| port.value == PLAIN_PORT)
    {
        let hint = "add the port of plain HTTP: `ports: [80, 443]`";
        findings.error_with_hint(plain.at, "`plain: true` needs port 80 among the `ports`", hint);
        return None;
    }
    let ports = ports.unwrap_or_else(|| vec![Spanned { value: PORT, at: node.at }]);
    Some(HostFile {
        host: host?,
        ports: Some(PortsFile { ports, plain: is_plain, cidrs: cidrs.ok()?.unwrap_or_default() }),
    })
}

fn ports(node: &Node, findings: &mut Findings) -> Option<Vec<Spanned<u16>>> {
    if !matches!(node.kind, NodeKind::List(_)) {
        let message = format!("`ports` is a list, not {}", node.describe());
        findings.error_with_hint(
            node.at,
            message,
            "write each port, such as `[443]`; no word stands for all",
        );
        return None;
    }
    let ports = fields::list(node, findings, |node, findings| {
        let port = scalar::count_up_to(u16::MAX.into(), node, findings)?;
        let value = u16::try_from(port).expect("it is not more than a port can be");
        Some(Spanned { value, at: node.at })
    })?;
    if ports.is_empty() {
        let hint = "name them, such as `ports: [443]`, or leave the key out for 443";
        findings.error_with_hint(node.at, "an empty list of `ports` allows none", hint);
        return None;
    }
    Some(ports)
}

/// Reads a word, or a word and until when it holds.
fn tunnels(node: &Node, findings: &mut Findings) -> Option<Spanned<TunnelMode>> {
    let (word, until) = match node.kind {
        NodeKind::Map(_) => {
            let mut fields = Fields::open(node, "`tunnels`", findings)?;
            let mode = fields.required("mode", findings).and_then(|node| mode(node, findings));
            let until = fields.read("until", findings, scalar::moment);
            fields.close(&[], findings);
            (mode?, until.ok()?)
        }
        _ => (mode(node, findings)?, None),
    };
    let value = match (word, until) {
        ("enforce", Some(until)) => {
            let hint = "write `mode: report`, whose end it is, or leave `until` out";
            findings.error_with_hint(until.at, "`until` does not apply to `mode: enforce`", hint);
            return None;
        }
        ("enforce", None) => TunnelMode::Enforce,
        (_, until) => TunnelMode::Report { until: until.map(|until| until.value) },
    };
    Some(Spanned { value, at: node.at })
}

fn mode(node: &Node, findings: &mut Findings) -> Option<&'static str> {
    scalar::word(node, findings, &TunnelMode::WORDS, |word| word).map(|word| word.value)
}
