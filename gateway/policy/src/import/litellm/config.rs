//! The configuration as written: the parts that have a counterpart, and a note about each of the others.

use crate::diagnostic::{Findings, Position, Spanned};
use crate::file::node::{Entry, Node, NodeKind};

/// What a configuration says.
pub(super) struct Config {
    pub(super) list_at: Position,
    pub(super) deployments: Vec<Deployment>,
    /// Group and the groups that stand in for it, in order.
    pub(super) fallbacks: Vec<(Spanned<String>, Vec<Spanned<String>>)>,
    /// Another name and the group it stands for.
    pub(super) aliases: Vec<(Spanned<String>, String)>,
    pub(super) strategy: Option<Spanned<String>>,
    pub(super) retries: Option<u32>,
}

/// One entry of `model_list`.
pub(super) struct Deployment {
    pub(super) group: Spanned<String>,
    pub(super) params: Vec<Param>,
}

/// A setting of a deployment.
#[derive(Clone)]
pub(super) struct Param {
    pub(super) key: Spanned<String>,
    pub(super) value: String,
}

impl Deployment {
    /// Returns a setting's text, if it is there and not empty.
    pub(super) fn param(&self, key: &str) -> Option<Spanned<&str>> {
        let param = self.params.iter().find(|param| param.key.value == key && !param.value.is_empty())?;
        Some(Spanned { value: param.value.as_str(), at: param.key.at })
    }
}

/// What to do about a setting without a counterpart.
const BY_HAND: &str = "see whether something in routes.yaml is meant by it, or leave it out";

impl Config {
    /// Reads a configuration. Returns nothing if it has no list of models.
    pub(super) fn read(root: &Node, findings: &mut Findings) -> Option<Self> {
        let list = entry(root, "model_list");
        let Some(NodeKind::List(items)) = list.map(|list| &list.kind) else {
            let hint = "give the `config.yaml` that `litellm --config` is started with";
            findings.error_with_hint(
                root.at,
                "this is not a configuration of LiteLLM: no `model_list`",
                hint,
            );
            return None;
        };
        let mut config = Self {
            list_at: list.map_or(root.at, |list| list.at),
            deployments: items.iter().filter_map(|item| deployment(item, findings)).collect(),
            fallbacks: Vec::new(),
            aliases: Vec::new(),
            strategy: None,
            retries: None,
        };
        for Entry { key, value } in entries(root) {
            match key.value.as_str() {
                "model_list" => {}
                "router_settings" | "litellm_settings" => config.settings(&key.value, value, findings),
                "general_settings" => general(value, findings),
                "environment_variables" => {
                    let hint = "set them where the gateway is started; secrets belong into files";
                    findings.warning(key.at, "`environment_variables` is not carried over", hint);
                }
                other => findings.warning(key.at, format!("`{other}` has no counterpart"), BY_HAND),
            }
        }
        Some(config)
    }

    fn settings(&mut self, section: &str, node: &Node, findings: &mut Findings) {
        for Entry { key, value } in entries(node) {
            match key.value.as_str() {
                "fallbacks" => self.fallbacks.extend(fallbacks(value)),
                "model_group_alias" => self.aliases.extend(aliases(value)),
                "routing_strategy" => {
                    self.strategy = text(value).map(|value| Spanned { value, at: key.at });
                }
                "num_retries" => {
                    self.retries = self.retries.max(text(value).and_then(|text| text.parse().ok()));
                }
                "context_window_fallbacks" => {
                    let hint = "say it with `when: { max_input_tokens: … }` in the route";
                    findings.warning(key.at, format!("`{section}.{}` is not carried over", key.value), hint);
                }
                "request_timeout" | "timeout" | "stream_timeout" => {
                    let hint = "write `limits: { total: …, stream_idle: … }` in the workflow";
                    findings.warning(key.at, format!("`{section}.{}` is not carried over", key.value), hint);
                }
                "allowed_fails" | "cooldown_time" => {
                    let hint = "write `breaker: { failures: …, open_for: … }` in the providers";
                    findings.warning(key.at, format!("`{section}.{}` is not carried over", key.value), hint);
                }
                other => {
                    findings.warning(key.at, format!("`{section}.{other}` has no counterpart"), BY_HAND);
                }
            }
        }
    }
}

fn general(node: &Node, findings: &mut Findings) {
    for Entry { key, .. } in entries(node) {
        if key.value == "master_key" {
            let hint = "make a key for each caller: `portcullis key new ID` prints its line for `callers`";
            findings.warning(key.at, "`general_settings.master_key` is not carried over", hint);
        } else {
            let message = format!("`general_settings.{}` has no counterpart", key.value);
            findings.warning(key.at, message, BY_HAND);
        }
    }
}

fn deployment(node: &Node, findings: &mut Findings) -> Option<Deployment> {
    let group = entry(node, "model_name").and_then(|name| Some(Spanned { value: text(name)?, at: name.at }));
    let Some(group) = group else {
        findings.warning(node.at, "an entry of `model_list` has no `model_name`", "it is left out");
        return None;
    };
    let mut params = Vec::new();
    for setting in entries(node) {
        let Entry { key, value } = setting;
        match key.value.as_str() {
            "model_name" => {}
            "litellm_params" | "model_info" => params.extend(entries(value).iter().map(param)),
            // Limits once stood here, beside `litellm_params`.
            "rpm" | "tpm" => params.push(param(setting)),
            other => {
                let message = format!("`{other}` of `{}` has no counterpart", group.value);
                findings.warning(key.at, message, BY_HAND);
            }
        }
    }
    Some(Deployment { group, params })
}

fn param(entry: &Entry) -> Param {
    Param { key: entry.key.clone(), value: text(&entry.value).unwrap_or_default() }
}

/// Reads `[{ group: [other, …] }, …]`, or the mapping alone.
fn fallbacks(node: &Node) -> Vec<(Spanned<String>, Vec<Spanned<String>>)> {
    let maps = match &node.kind {
        NodeKind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let read = |entry: &Entry| {
        let others = match &entry.value.kind {
            NodeKind::List(items) => items.as_slice(),
            _ => std::slice::from_ref(&entry.value),
        };
        let names = others.iter().filter_map(|other| Some(Spanned { value: text(other)?, at: other.at }));
        (entry.key.clone(), names.collect())
    };
    maps.iter().flat_map(entries).map(read).collect()
}

/// Reads `{ alias: group }`, where the group may also stand under `model`.
fn aliases(node: &Node) -> Vec<(Spanned<String>, String)> {
    let read = |Entry { key, value }: &Entry| {
        let group = text(value).or_else(|| text(entry(value, "model")?))?;
        Some((key.clone(), group))
    };
    entries(node).iter().filter_map(read).collect()
}

fn entry<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    entries(node).iter().find(|entry| entry.key.value == key).map(|entry| &entry.value)
}

fn entries(node: &Node) -> &[Entry] {
    match &node.kind {
        NodeKind::Map(entries) => entries,
        _ => &[],
    }
}

fn text(node: &Node) -> Option<String> {
    match &node.kind {
        NodeKind::Quoted(text) => Some(text.clone()),
        NodeKind::Plain(text) if !node.is_nothing() => Some(text.clone()),
        _ => None,
    }
}
