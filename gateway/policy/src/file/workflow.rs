//! The section `workflows` as written, without the key `route`.

use std::time::Duration;

use ipnet::IpNet;

use super::egress::{self, EgressFile};
use super::fields::{self, Fields};
use super::node::Node;
use super::route::{self, RouteFile};
use super::scalar;
use super::tools::{self, ToolsFile};
use crate::diagnostic::{Findings, Spanned};
use crate::digest::Digest;
use crate::moment::Moment;
use crate::name::{CallerName, KeyId};
use crate::priority::Priority;

/// One entry of `workflows`. Parts that were wrong are left out, so that the others can still be checked.
#[derive(Debug)]
pub(crate) struct WorkflowFile {
    pub(crate) owner: Option<String>,
    pub(crate) callers: Vec<Spanned<CallerFile>>,
    pub(crate) egress: Option<EgressFile>,
    pub(crate) route: Option<Spanned<Vec<Option<RouteFile>>>>,
    pub(crate) tools: ToolsFile,
    pub(crate) limits: LimitsFile,
    pub(crate) audit: AuditFile,
    pub(crate) must_survive: Vec<Spanned<String>>,
    pub(crate) stored_responses: Option<StoredResponsesFile>,
    pub(crate) priority: Option<Spanned<Priority>>,
}

/// One way to be a caller of a workflow.
#[derive(Debug)]
pub(crate) enum CallerFile {
    Loopback,
    ApiKey(KeyFile),
    /// A network, whose peers the agents' proxy lets in.
    Source(Spanned<IpNet>),
}

/// A key that lets its holder in.
#[derive(Debug)]
pub(crate) struct KeyFile {
    pub(crate) id: Spanned<KeyId>,
    pub(crate) sha256: Spanned<Digest>,
    pub(crate) caller: Option<Spanned<CallerName>>,
    pub(crate) expires: Option<Spanned<Moment>>,
}

/// The limits that were written.
#[derive(Debug, Default)]
pub(crate) struct LimitsFile {
    pub(crate) max_body_bytes: Option<Spanned<u64>>,
    pub(crate) stream_idle: Option<Spanned<Duration>>,
    pub(crate) total: Option<Spanned<Duration>>,
    /// Of the whole workflow.
    pub(crate) connections: Option<Spanned<u32>>,
}

/// What records are made of and how long they are kept.
#[derive(Debug, Default)]
pub(crate) struct AuditFile {
    pub(crate) retention: Option<Spanned<Duration>>,
}

/// How long and how many answers the gateway keeps itself.
#[derive(Debug)]
pub(crate) struct StoredResponsesFile {
    pub(crate) keep: Duration,
    pub(crate) max_bytes: u64,
}

/// Longest name of a request's field, in bytes; those of the known formats have at most half of it.
const FIELD_BYTES_MAX: usize = 64;
/// Most connections of one workflow: there are no more ports on one address to come from.
const CONNECTIONS_MAX: u32 = 65_535;

/// Reads one entry of `workflows`.
pub(super) fn workflow(node: &Node, findings: &mut Findings) -> Option<WorkflowFile> {
    let mut fields = Fields::open(node, "a workflow", findings)?;
    let owner = fields.required("owner", findings).and_then(|node| scalar::text(node, findings));
    let callers = fields.required("callers", findings).and_then(|node| fields::items(node, findings, caller));
    let egress = fields.required("egress", findings).and_then(|node| egress::egress(node, findings));
    let route = fields.required("route", findings).and_then(|node| route::route(node, findings));
    let tools = fields.read("tools", findings, tools::tools);
    let limits = fields.read("limits", findings, limits);
    let audit = fields.read("audit", findings, audit);
    let must_survive = fields.read("must_survive", findings, must_survive);
    let stored_responses = fields.read("stored_responses", findings, stored_responses);
    let priority = fields.read("priority", findings, |node, findings| {
        scalar::word(node, findings, &Priority::ALL, Priority::as_str)
    });
    fields.later(
        &[
            ("dlp", "leave it out; `egress: { mode: sealed }` is what keeps content in"),
            ("enforce", "leave it out; every rule is enforced"),
        ],
        findings,
    );
    fields.close(&[], findings);
    Some(WorkflowFile {
        owner: owner.map(|owner| owner.value),
        callers: callers.into_iter().flatten().flatten().collect(),
        egress,
        route,
        tools: tools.ok().flatten().unwrap_or_default(),
        limits: limits.ok().flatten().unwrap_or_default(),
        audit: audit.ok().flatten().unwrap_or_default(),
        must_survive: must_survive.ok().flatten().unwrap_or_default(),
        stored_responses: stored_responses.ok().flatten(),
        priority: priority.ok().flatten(),
    })
}

fn caller(node: &Node, findings: &mut Findings) -> Option<Spanned<CallerFile>> {
    let mut fields = Fields::open(node, "a caller", findings)?;
    let loopback = fields.read("loopback", findings, |node, findings| {
        if scalar::switch(node, findings)? {
            return Some(CallerFile::Loopback);
        }
        findings.error_with_hint(node.at, "`loopback: false` names nobody", "leave the entry out");
        None
    });
    let api_key = fields.read("api_key", findings, api_key);
    let source = fields.read("source", findings, source);
    let written_count = fields.len();
    let meanwhile = "name the caller by `api_key`";
    let later = ["jwt", "client_cert", "spiffe", "k8s_service_account"].map(|key| (key, meanwhile));
    fields.later(&later, findings);
    fields.close(&[], findings);
    if written_count != 1 {
        let hint = "write one of `{ loopback: true }`, `{ api_key: { id: …, sha256: … } }` and `{ source: { cidr: … } }`";
        findings.error_with_hint(node.at, "a caller is named in one way", hint);
        return None;
    }
    let value = loopback.ok()?.or(api_key.ok()?).or(source.ok()?)?;
    Some(Spanned { value, at: node.at })
}

fn source(node: &Node, findings: &mut Findings) -> Option<CallerFile> {
    let mut fields = Fields::open(node, "`source`", findings)?;
    let cidr = fields.required("cidr", findings).and_then(|node| scalar::network(node, findings));
    fields.close(&[], findings);
    Some(CallerFile::Source(cidr?))
}

fn api_key(node: &Node, findings: &mut Findings) -> Option<CallerFile> {
    let mut fields = Fields::open(node, "`api_key`", findings)?;
    let id = fields.required("id", findings).and_then(|node| scalar::name(node, findings, KeyId::new));
    let sha256 = fields.required("sha256", findings).and_then(|node| scalar::sha256(node, findings, ""));
    let caller =
        fields.read("caller", findings, |node, findings| scalar::name(node, findings, CallerName::new));
    let expires = fields.read("expires", findings, scalar::moment);
    fields.close(&[], findings);
    Some(CallerFile::ApiKey(KeyFile {
        id: id?,
        sha256: sha256?,
        caller: caller.ok()?,
        expires: expires.ok()?,
    }))
}

/// Reads `limits`, of a workflow or of the defaults.
pub(super) fn limits(node: &Node, findings: &mut Findings) -> Option<LimitsFile> {
    let mut fields = Fields::open(node, "`limits`", findings)?;
    let max_body_bytes = fields.read("max_body", findings, scalar::size_bytes);
    let stream_idle = fields.read("stream_idle", findings, scalar::duration);
    let total = fields.read("total", findings, scalar::duration);
    let connections = fields.read("connections", findings, |node, findings| {
        let value = scalar::count_up_to(CONNECTIONS_MAX, node, findings)?;
        Some(Spanned { value, at: node.at })
    });
    let meanwhile = "leave it out; `max_body` and `total` bound what one call may use";
    fields
        .later(&["requests_per_minute", "tokens_per_minute", "budget"].map(|key| (key, meanwhile)), findings);
    fields.close(&[], findings);
    Some(LimitsFile {
        max_body_bytes: max_body_bytes.ok()?,
        stream_idle: stream_idle.ok()?,
        total: total.ok()?,
        connections: connections.ok()?,
    })
}

/// Reads `audit`, of a workflow or of the defaults. The keys that are not kept have one supported value each and
/// change nothing.
pub(super) fn audit(node: &Node, findings: &mut Findings) -> Option<AuditFile> {
    let mut fields = Fields::open(node, "`audit`", findings)?;
    let content = fields.optional("content");
    let on_failure = fields.optional("on_failure");
    let retention = fields.read("retention", findings, scalar::duration);
    fields.close(&[], findings);
    only(content, "content", "metadata", findings);
    only(on_failure, "on_failure", "deny", findings);
    Some(AuditFile { retention: retention.ok()? })
}

/// Reads `must_survive`, of a workflow or of the defaults.
pub(super) fn must_survive(node: &Node, findings: &mut Findings) -> Option<Vec<Spanned<String>>> {
    fields::list(node, findings, field_name)
}

fn field_name(node: &Node, findings: &mut Findings) -> Option<Spanned<String>> {
    let name = scalar::text(node, findings)?;
    let text = name.value.as_str();
    let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'.';
    if !text.starts_with(|c: char| c.is_ascii_lowercase()) || !text.bytes().all(is_allowed) {
        let hint = "a field is written in lower case with `_`, and a field inside it behind a `.`, such as \
                    `response_format`";
        findings.error_with_hint(name.at, format!("`{text}` is not the name of a request's field"), hint);
        return None;
    }
    if text.len() > FIELD_BYTES_MAX {
        let message = format!("a field's name has at most {FIELD_BYTES_MAX} characters");
        findings.error_with_hint(name.at, message, "write the field as the API's documents spell it");
        return None;
    }
    Some(name)
}

fn stored_responses(node: &Node, findings: &mut Findings) -> Option<StoredResponsesFile> {
    let mut fields = Fields::open(node, "`stored_responses`", findings)?;
    let keep = fields.required("keep", findings).and_then(|node| scalar::duration(node, findings));
    let max = fields.required("max", findings).and_then(|node| scalar::size_bytes(node, findings));
    fields.close(&[], findings);
    Some(StoredResponsesFile { keep: keep?.value, max_bytes: max?.value })
}

fn only(node: Option<&Node>, key: &str, supported: &str, findings: &mut Findings) {
    if let Some(node) = node
        && let Some(Spanned { value, at }) = scalar::text(node, findings)
        && value != supported
    {
        findings.error_with_hint(
            at,
            format!("`{key}: {value}` is not supported"),
            format!("write `{supported}`"),
        );
    }
}
