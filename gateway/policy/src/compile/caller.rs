//! Callers: one id stands for one key, and one name for at most two keys, so that a record says who called.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::{network, refuse_repetition};
use crate::diagnostic::{Findings, Spanned};
use crate::digest::Digest;
use crate::file::{CallerFile, KeyFile, Named, WorkflowFile};
use crate::identity::{CallerRule, KeyRule};
use crate::moment::Moment;
use crate::name::{CallerName, KeyId, WorkflowName};

/// Keys of one caller: the one in use, and the one that takes its place. A third is one that was forgotten.
const KEYS_OF_A_CALLER_MAX: usize = 2;

/// Compiles the callers of one workflow.
pub(super) fn callers(files: &[Spanned<CallerFile>], findings: &mut Findings) -> Vec<CallerRule> {
    let rule = |file: &CallerFile| match file {
        CallerFile::Loopback => CallerRule::Loopback,
        CallerFile::Source(network) => CallerRule::Source(network.value),
        CallerFile::ApiKey(KeyFile { id, sha256, caller, expires }) => CallerRule::ApiKey(KeyRule {
            id: id.value.clone(),
            sha256: sha256.value,
            caller: caller.as_ref().map(|caller| caller.value.clone()),
            expires: expires.as_ref().map(|expires| expires.value),
        }),
    };
    let networks = files.iter().filter_map(|file| match &file.value {
        CallerFile::Source(network) => Some(network.clone()),
        CallerFile::Loopback | CallerFile::ApiKey(_) => None,
    });
    let networks: Vec<Spanned<IpNet>> = networks.collect();
    network::networks(&networks, "the agents", findings);
    let rules = files.iter().map(|file| (file.at, rule(&file.value)));
    refuse_repetition(rules.clone(), |_| "this caller is already in the list".to_owned(), findings);
    let mut rules: Vec<CallerRule> = rules.map(|(_, rule)| rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

/// Checks that ids, keys and callers correspond across all workflows.
pub(super) fn check(workflows: &[Named<WorkflowName, WorkflowFile>], findings: &mut Findings) {
    let mut first_of: BTreeMap<&KeyId, &KeyFile> = BTreeMap::new();
    let mut id_of: BTreeMap<Digest, &KeyId> = BTreeMap::new();
    let mut keys_of: BTreeMap<&str, BTreeSet<&KeyId>> = BTreeMap::new();
    let files = workflows.iter().filter_map(|workflow| workflow.body.as_ref());
    for caller in files.flat_map(|file| &file.callers) {
        let CallerFile::ApiKey(key) = &caller.value else { continue };
        let KeyFile { id, sha256, .. } = key;
        let first = *first_of.entry(&id.value).or_insert(key);
        if first.sha256.value != sha256.value {
            let message = format!("the id `{}` already stands for another key", id.value);
            findings.error_with_hint(id.at, message, "give each key an id of its own");
        } else if terms(first) != terms(key) {
            let message = format!("the key `{}` has another `caller` or `expires` elsewhere", id.value);
            findings.error_with_hint(id.at, message, "write the same wherever the key lets its holder in");
        }
        let first = *id_of.entry(sha256.value).or_insert(&id.value);
        if *first != id.value {
            let message = format!("this key already has the id `{first}`");
            findings.error_with_hint(sha256.at, message, format!("write `id: {first}`"));
        }
        let name = key.caller.as_ref().map_or(id.value.as_str(), |caller| caller.value.as_str());
        let keys = keys_of.entry(name).or_default();
        if keys.insert(&id.value) && keys.len() > KEYS_OF_A_CALLER_MAX {
            let message = format!("the caller `{name}` has two keys already");
            findings.error_with_hint(id.at, message, "remove the oldest: a change of keys needs two");
        }
    }
}

/// Whose key it is and until when: the same wherever it stands.
fn terms(key: &KeyFile) -> (Option<&CallerName>, Option<Moment>) {
    (key.caller.as_ref().map(|caller| &caller.value), key.expires.as_ref().map(|expires| expires.value))
}
