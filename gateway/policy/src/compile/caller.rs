//! Callers: one id stands for one key, so that a record says who called.

use std::collections::BTreeMap;

use super::refuse_repetition;
use crate::diagnostic::{Findings, Spanned};
use crate::digest::Digest;
use crate::file::{CallerFile, Named, WorkflowFile};
use crate::identity::CallerRule;
use crate::name::{KeyId, WorkflowName};

/// Compiles the callers of one workflow.
pub(super) fn callers(files: &[Spanned<CallerFile>], findings: &mut Findings) -> Vec<CallerRule> {
    let rule = |file: &CallerFile| match file {
        CallerFile::Loopback => CallerRule::Loopback,
        CallerFile::ApiKey { id, sha256 } => {
            CallerRule::ApiKey { id: id.value.clone(), sha256: sha256.value }
        }
    };
    let rules = files.iter().map(|file| (file.at, rule(&file.value)));
    refuse_repetition(rules.clone(), |_| "this caller is already in the list".to_owned(), findings);
    let mut rules: Vec<CallerRule> = rules.map(|(_, rule)| rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

/// Checks that ids and keys correspond across all workflows.
pub(super) fn check(workflows: &[Named<WorkflowName, WorkflowFile>], findings: &mut Findings) {
    let mut key_of: BTreeMap<&KeyId, Digest> = BTreeMap::new();
    let mut id_of: BTreeMap<Digest, &KeyId> = BTreeMap::new();
    let files = workflows.iter().filter_map(|workflow| workflow.body.as_ref());
    for caller in files.flat_map(|file| &file.callers) {
        let CallerFile::ApiKey { id, sha256 } = &caller.value else { continue };
        if *key_of.entry(&id.value).or_insert(sha256.value) != sha256.value {
            let message = format!("the id `{}` already stands for another key", id.value);
            findings.error_with_hint(id.at, message, "give each key an id of its own");
        }
        let first = *id_of.entry(sha256.value).or_insert(&id.value);
        if *first != id.value {
            let message = format!("this key already has the id `{first}`");
            findings.error_with_hint(sha256.at, message, format!("write `id: {first}`"));
        }
    }
}
