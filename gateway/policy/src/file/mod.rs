//! The policy file as written: its keys, their types and their places.
//!
//! This is the first of two readings. It knows the format and nothing of meaning: names are not looked up and
//! nothing is allowed or denied. A part that is wrong is reported and left out, and marked as left out, so that
//! the second reading does not report it again as missing.

mod auth;
mod cases;
mod egress;
mod fields;
mod health;
pub(crate) mod node;
mod provider;
mod proxy;
mod revocations;
mod route;
mod scalar;
#[cfg(test)]
mod tests;
mod tls;
mod tools;
mod workflow;

pub(crate) use auth::AuthFile;
pub(crate) use cases::{ExpectFile, cases};
pub(crate) use egress::{ContentFile, EgressFile, HostFile, PortsFile};
pub(crate) use provider::{HttpFile, Kind, ModelFile, ProviderFile, TimeoutsFile};
pub(crate) use proxy::ProxyFile;
pub(crate) use revocations::{RevocationsFile, revocations};
pub(crate) use route::{OrderFile, RouteFile, WhenWritten};
pub(crate) use tls::TlsFile;
pub(crate) use tools::ToolsFile;
pub(crate) use workflow::{AuditFile, CallerFile, KeyFile, LimitsFile, StoredResponsesFile, WorkflowFile};

use std::collections::BTreeMap;

use self::fields::Fields;
use self::node::Node;
use crate::diagnostic::{Findings, Position, Source, Spanned};
use crate::host::HostPattern;
use crate::name::{ModelName, NameError, ProviderName, ProxyName, WorkflowName};

/// A policy file as written.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) defaults: DefaultsFile,
    pub(crate) proxies: Vec<Named<ProxyName, ProxyFile>>,
    pub(crate) providers: Vec<Named<ProviderName, ProviderFile>>,
    pub(crate) models: Vec<Named<ModelName, ModelFile>>,
    pub(crate) workflows: Vec<Named<WorkflowName, WorkflowFile>>,
}

/// A named part; `body` is absent if it was wrong and has been reported.
#[derive(Debug)]
pub(crate) struct Named<N, B> {
    pub(crate) name: Spanned<N>,
    pub(crate) body: Option<B>,
}

/// The floor that every workflow stands on.
#[derive(Debug, Default)]
pub(crate) struct DefaultsFile {
    pub(crate) deny_hosts: Vec<Spanned<HostPattern>>,
    pub(crate) tools: ToolsFile,
    pub(crate) limits: LimitsFile,
    pub(crate) audit: AuditFile,
    /// The floor for content that makes others dial.
    pub(crate) content: ContentFile,
    pub(crate) must_survive: Vec<Spanned<String>>,
}

/// Most files of one policy, and of its test cases.
const FILES_MAX: usize = 4096;

/// Reads a policy: the file with all sections, and files with more workflows. Returns `None` if one of them is not
/// such a document.
pub(crate) fn read(base: &Source, parts: &[Source], findings: &mut Findings) -> Option<File> {
    if parts.len() >= FILES_MAX {
        let message = format!("the policy has {} files, more than {FILES_MAX}", parts.len() + 1);
        findings.error_with_hint(Position::start_of(0), message, "put several workflows into one file");
        return None;
    }
    let file = read_base(base, !parts.is_empty(), findings);
    // All are read before any is missed, so that one run reports what is wrong in each.
    let workflows: Vec<_> =
        (1..).zip(parts).map(|(index, part)| read_part(index, part, base, findings)).collect();
    let mut file = file?;
    for part in workflows {
        file.workflows.extend(part?);
    }
    if !parts.is_empty() {
        let names: Vec<&str> = [base].into_iter().chain(parts).map(|source| source.name.as_str()).collect();
        refuse_repetition(&file.workflows, &names, findings);
    }
    Some(file)
}

fn read_base(source: &Source, has_parts: bool, findings: &mut Findings) -> Option<File> {
    let root = node::parse(&source.text, findings)?;
    let mut fields = Fields::open(&root, "a policy file", findings)?;
    if let Some(version) = fields.required("version", findings) {
        check_version(version, findings);
    }
    let defaults = fields.optional("defaults").and_then(|node| defaults(node, findings)).unwrap_or_default();
    let proxies = fields
        .optional("proxies")
        .and_then(|node| named(node, findings, ProxyName::new, proxy::proxy))
        .unwrap_or_default();
    let providers = fields.required("providers", findings);
    let models = fields.required("models", findings);
    let has_workflows = fields.has("workflows") || !has_parts;
    let workflows = if has_workflows { fields.required("workflows", findings) } else { None };
    fields.close(&[], findings);

    // All three are read before any is missed, so that one run reports what is wrong in each.
    let providers = providers.and_then(|node| named(node, findings, ProviderName::new, provider::provider));
    let models = models.and_then(|node| named(node, findings, ModelName::new, provider::model));
    let workflows = workflows.and_then(|node| named(node, findings, WorkflowName::new, workflow::workflow));
    let workflows = if has_workflows { workflows? } else { Vec::new() };
    Some(File { defaults, proxies, providers: providers?, models: models?, workflows })
}

/// Reads a file that has nothing but workflows: who may write it decides about these, and about nothing else.
fn read_part(
    index: u16,
    part: &Source,
    base: &Source,
    findings: &mut Findings,
) -> Option<Vec<Named<WorkflowName, WorkflowFile>>> {
    let root = node::parse_of(index, &part.text, findings)?;
    let mut fields = Fields::open(&root, "a file of workflows", findings)?;
    if let Some(version) = fields.required("version", findings) {
        check_version(version, findings);
    }
    let workflows = fields.required("workflows", findings);
    let elsewhere = format!("stands in `{}`, for all workflows", base.name);
    let refused = ["defaults", "providers", "models", "proxies"].map(|key| (key, elsewhere.as_str()));
    fields.close(&refused, findings);
    named(workflows?, findings, WorkflowName::new, workflow::workflow)
}

/// Reports workflows that stand in two files; within one file a key that stands there twice is already a mistake.
fn refuse_repetition(
    workflows: &[Named<WorkflowName, WorkflowFile>],
    files: &[&str],
    findings: &mut Findings,
) {
    let mut first_at: BTreeMap<&WorkflowName, Position> = BTreeMap::new();
    for Named { name: Spanned { value: name, at }, .. } in workflows {
        let first = *first_at.entry(name).or_insert(*at);
        if first != *at {
            let Position { file, line, column } = first;
            let place = format!("{}:{line}:{column}", files[usize::from(file)]);
            let message = format!("the workflow `{name}` already stands at {place}");
            findings.error_with_hint(*at, message, "remove one of the two, or give it another name");
        }
    }
}

fn check_version(node: &Node, findings: &mut Findings) {
    if let Some(version) = scalar::count(node, findings)
        && version != 1
    {
        let hint = "write `version: 1`";
        findings.error_with_hint(node.at, format!("version {version} is not known here"), hint);
    }
}

fn defaults(node: &Node, findings: &mut Findings) -> Option<DefaultsFile> {
    let mut fields = Fields::open(node, "`defaults`", findings)?;
    let deny_hosts = fields
        .optional("deny_hosts")
        .and_then(|node| fields::list(node, findings, scalar::host_pattern))
        .unwrap_or_default();
    let tools = fields.optional("tools").and_then(|node| tools::tools(node, findings));
    let limits = fields.optional("limits").and_then(|node| workflow::limits(node, findings));
    let audit = fields.optional("audit").and_then(|node| workflow::audit(node, findings));
    let content = fields.optional("egress").and_then(|node| egress::floor(node, findings));
    let must_survive =
        fields.optional("must_survive").and_then(|node| workflow::must_survive(node, findings));
    fields.later(&[("dlp", "leave it out; `egress: { mode: sealed }` is what keeps content in")], findings);
    let not_for_all = "stands in a workflow: each one asks for it on its own";
    fields.close(&[("stored_responses", not_for_all)], findings);
    Some(DefaultsFile {
        deny_hosts,
        tools: tools.unwrap_or_default(),
        limits: limits.unwrap_or_default(),
        audit: audit.unwrap_or_default(),
        content: content.unwrap_or_default(),
        must_survive: must_survive.unwrap_or_default(),
    })
}

fn named<N, B>(
    node: &Node,
    findings: &mut Findings,
    parse_name: fn(&str) -> Result<N, NameError>,
    read_body: fn(&Node, &mut Findings) -> Option<B>,
) -> Option<Vec<Named<N, B>>> {
    let entries = fields::entries(node, "this section", findings)?;
    let read = |entry: &node::Entry| {
        let body = read_body(&entry.value, findings);
        let name = scalar::name_of(&entry.key, findings, parse_name)?;
        Some(Named { name, body })
    };
    Some(entries.iter().filter_map(read).collect())
}
