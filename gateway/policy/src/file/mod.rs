//! The policy file as written: its keys, their types and their places.
//!
//! This is the first of two readings. It knows the format and nothing of meaning: names are not looked up and
//! nothing is allowed or denied. A part that is wrong is reported and left out, and marked as left out, so that
//! the second reading does not report it again as missing.

#[cfg(test)]
mod agreement;
mod auth;
mod fields;
mod health;
mod node;
mod provider;
mod route;
mod scalar;
mod tools;
mod workflow;

pub(crate) use auth::AuthFile;
pub(crate) use provider::{HttpFile, Kind, ModelFile, ProviderFile, TimeoutsFile};
pub(crate) use route::{OrderFile, RouteFile, WhenWritten};
pub(crate) use tools::ToolsFile;
pub(crate) use workflow::{AuditFile, CallerFile, EgressFile, LimitsFile, StoredResponsesFile, WorkflowFile};

use self::fields::Fields;
use self::node::Node;
use crate::diagnostic::{Findings, Spanned};
use crate::host::HostPattern;
use crate::name::{ModelName, NameError, ProviderName, WorkflowName};

/// A policy file as written.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) defaults: DefaultsFile,
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
    pub(crate) must_survive: Vec<Spanned<String>>,
}

/// Reads the text of a policy file. Returns `None` if it is not a document with the four sections.
pub(crate) fn read(text: &str, findings: &mut Findings) -> Option<File> {
    let root = node::parse(text, findings)?;
    let mut fields = Fields::open(&root, "a policy file", findings)?;
    if let Some(version) = fields.required("version", findings) {
        check_version(version, findings);
    }
    let defaults = fields.optional("defaults").and_then(|node| defaults(node, findings)).unwrap_or_default();
    let providers = fields.required("providers", findings);
    let models = fields.required("models", findings);
    let workflows = fields.required("workflows", findings);
    fields.later(&[("proxies", "leave it out; providers are called directly")], findings);
    fields.close(&[], findings);

    // All three are read before any is missed, so that one run reports what is wrong in each.
    let providers = providers.and_then(|node| named(node, findings, ProviderName::new, provider::provider));
    let models = models.and_then(|node| named(node, findings, ModelName::new, provider::model));
    let workflows = workflows.and_then(|node| named(node, findings, WorkflowName::new, workflow::workflow));
    Some(File { defaults, providers: providers?, models: models?, workflows: workflows? })
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
