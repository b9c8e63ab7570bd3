//! The list of revocations as written: `revocations.yaml`, a file of its own beside the policy.

use std::collections::BTreeSet;

use super::fields::{self, Fields};
use super::node::{self, Node, NodeKind};
use super::scalar;
use crate::diagnostic::{Findings, Spanned};
use crate::host::HostPattern;
use crate::name::{KeyId, ProviderName, WorkflowName};

/// What is revoked, list by list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RevocationsFile {
    pub(crate) callers: BTreeSet<String>,
    pub(crate) keys: BTreeSet<KeyId>,
    pub(crate) workflows: BTreeSet<WorkflowName>,
    pub(crate) providers: BTreeSet<ProviderName>,
    pub(crate) hosts: BTreeSet<HostPattern>,
}

/// Reads the text of a list of revocations. Returns `None` if anything in it is wrong.
pub(crate) fn revocations(text: &str, findings: &mut Findings) -> Option<RevocationsFile> {
    let root = node::parse(text, findings)?;
    let mut fields = Fields::open(&root, "a list of revocations", findings)?;
    if let Some(version) = fields.required("version", findings) {
        super::check_version(version, findings);
    }
    let callers = entries(&mut fields, "callers", "id", findings, scalar::text);
    let keys = entries(&mut fields, "keys", "id", findings, key_id);
    let workflows = entries(&mut fields, "workflows", "name", findings, workflow);
    let providers = entries(&mut fields, "providers", "name", findings, provider);
    let hosts = entries(&mut fields, "hosts", "host", findings, scalar::host_pattern);
    fields.close(&[], findings);
    // All lists are read before any is missed, so that one run reports what is wrong in each.
    Some(RevocationsFile {
        callers: callers?,
        keys: keys?,
        workflows: workflows?,
        providers: providers?,
        hosts: hosts?,
    })
}

fn key_id(node: &Node, findings: &mut Findings) -> Option<Spanned<KeyId>> {
    scalar::name(node, findings, KeyId::new)
}

fn workflow(node: &Node, findings: &mut Findings) -> Option<Spanned<WorkflowName>> {
    scalar::name(node, findings, WorkflowName::new)
}

fn provider(node: &Node, findings: &mut Findings) -> Option<Spanned<ProviderName>> {
    scalar::name(node, findings, ProviderName::new)
}

/// Reads a list whose items are values alone, or mappings with the value under `key` and words about it.
fn entries<T: Ord>(
    fields: &mut Fields<'_>,
    section: &'static str,
    key: &'static str,
    findings: &mut Findings,
    read_value: fn(&Node, &mut Findings) -> Option<Spanned<T>>,
) -> Option<BTreeSet<T>> {
    let Some(node) = fields.optional(section) else { return Some(BTreeSet::new()) };
    let read_item = |item: &Node, findings: &mut Findings| {
        if !matches!(item.kind, NodeKind::Map(_)) {
            return read_value(item, findings);
        }
        let mut fields = Fields::open(item, "a revocation", findings)?;
        let value = fields.required(key, findings).and_then(|node| read_value(node, findings));
        let reason = fields.read("reason", findings, scalar::text);
        let since = fields.read("since", findings, since);
        fields.close(&[], findings);
        (reason.is_ok() && since.is_ok()).then_some(value).flatten()
    };
    let items = fields::list(node, findings, read_item)?;
    Some(items.into_iter().map(|item| item.value).collect())
}

/// Reads a day or a point in time. It is for people and changes nothing, so only its form is checked.
fn since(node: &Node, findings: &mut Findings) -> Option<Spanned<String>> {
    let text = scalar::text(node, findings)?;
    let form: String = text.value.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    if !["0000-00-00", "0000-00-00T00:00Z", "0000-00-00T00:00:00Z"].contains(&form.as_str()) {
        let hint = "write it as `2026-01-31` or `2026-01-31T09:30:00Z`";
        findings.error_with_hint(text.at, format!("`{}` is not a day or a time", text.value), hint);
        return None;
    }
    Some(text)
}
