//! The policy file as text, with the notes where its first reader cannot miss them.

use std::fmt::Write;

use super::group::{Entry, Groups, Model, Order};
use super::upstream::{Upstream, quoted};
use crate::diagnostic::Diagnostic;

/// Writes a policy file; `from` is the name of the configuration.
pub(super) fn policy_file(from: &str, groups: &Groups, notes: &[Diagnostic]) -> String {
    let mut out = String::new();
    write(&mut out, from, groups, notes).expect("a string takes any text");
    out
}

fn write(out: &mut String, from: &str, groups: &Groups, notes: &[Diagnostic]) -> std::fmt::Result {
    let from: String = from.chars().filter(|c| !c.is_control()).collect();
    writeln!(
        out,
        "# Carried over from {from} by `portcullis import litellm`: a draft. Read it, and write tests for it."
    )?;
    if !notes.is_empty() {
        writeln!(out, "#\n# Not carried over, or to be looked at:")?;
    }
    for note in notes {
        writeln!(out, "# - line {}: {}", note.line, comment(&note.message))?;
        if let Some(hint) = &note.hint {
            writeln!(out, "#   {}", comment(hint))?;
        }
    }
    writeln!(out, "version: 1\n\nproviders:")?;
    for (name, upstream) in &groups.providers {
        provider(out, name, upstream)?;
    }
    writeln!(out, "\nmodels:")?;
    for model in &groups.models {
        self::model(out, groups, model)?;
    }
    workflow(out, groups)
}

/// Keeps text of the configuration inside its comment.
fn comment(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn provider(out: &mut String, name: &str, upstream: &Upstream) -> std::fmt::Result {
    let Upstream { kind, server, api_version, base_url, cidrs, region, auth, .. } = upstream;
    writeln!(out, "  {name}:\n    kind: {kind}\n    base_url: {base_url}")?;
    if let Some(server) = server {
        writeln!(out, "    server: {server}")?;
    }
    if let Some(api_version) = api_version {
        writeln!(out, "    api_version: {api_version}")?;
    }
    if upstream.is_local() {
        let cidrs: Vec<String> = cidrs.iter().map(|network| quoted(network)).collect();
        writeln!(out, "    locality: local\n    cidrs: [{}]", cidrs.join(", "))?;
    } else {
        writeln!(out, "    locality: hosted")?;
    }
    if let Some(region) = region {
        writeln!(out, "    region: {}", quoted(region))?;
    }
    if let Some(auth) = auth {
        writeln!(out, "    auth: {auth}")?;
    }
    Ok(())
}

fn model(out: &mut String, groups: &Groups, model: &Model) -> std::fmt::Result {
    let provider = &groups.providers[model.provider].0;
    write!(out, "  {}: {{ provider: {provider}, name: {}", key(&model.name), quoted(&model.upstream_name))?;
    if let Some([input, output]) = model.price {
        write!(out, ", price: {{ input: {input}, output: {output} }}")?;
    }
    writeln!(out, " }}")
}

/// A name of digits and points alone would look like a number.
fn key(name: &str) -> String {
    if name.starts_with(|c: char| c.is_ascii_lowercase()) { name.to_owned() } else { quoted(name) }
}

fn workflow(out: &mut String, groups: &Groups) -> std::fmt::Result {
    let hosted: Vec<&str> = groups
        .providers
        .iter()
        .filter(|(_, upstream)| !upstream.is_local())
        .map(|(name, _)| name.as_str())
        .collect();
    let egress = if hosted.is_empty() {
        "{ mode: sealed }".to_owned()
    } else {
        format!("{{ mode: hosted, providers: [{}] }}", hosted.join(", "))
    };
    writeln!(out, "\nworkflows:\n  imported:")?;
    writeln!(out, "    owner: change-me # the team that answers for it")?;
    writeln!(out, "    callers: [] # nobody yet: `portcullis key new ID` prints a line for here")?;
    writeln!(out, "    egress: {egress}\n    route:")?;
    for entry in &groups.entries {
        let condition = format!("when: {{ model: {} }}, ", quoted(&entry.model));
        route_entry(out, &condition, entry, groups.attempts)?;
    }
    // The last entry is for agents that leave the choice to the policy.
    groups.entries.first().map_or(Ok(()), |first| route_entry(out, "", first, groups.attempts))
}

fn route_entry(out: &mut String, condition: &str, entry: &Entry, attempts: Option<u32>) -> std::fmt::Result {
    let to: Vec<String> = entry.to.iter().map(|name| key(name)).collect();
    let choice = match &entry.order {
        Order::Listed => format!("to: [{}]", to.join(", ")),
        Order::Balance(balance) => format!("to: [{}], balance: {balance}", to.join(", ")),
        Order::Split(weights) => {
            let parts: Vec<String> =
                to.iter().zip(weights).map(|(name, weight)| format!("{name}: {weight}")).collect();
            format!("split: {{ {} }}", parts.join(", "))
        }
    };
    let retry = attempts.map(|attempts| format!(", retry: {{ attempts: {attempts} }}")).unwrap_or_default();
    writeln!(out, "      - {{ {condition}{choice}{retry} }}")
}
