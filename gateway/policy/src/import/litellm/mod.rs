//! A `config.yaml` of `LiteLLM`: deployments become providers and models, model groups become entries of a route.
//!
//! A group with several deployments is spread over them as its settings say, one with fallbacks is a list. Where it is
//! both, the list wins, because an answer matters more than even load.

mod config;
mod group;
mod render;
mod service;
mod upstream;

use self::config::Config;
use self::group::Groups;
use super::Imported;
use crate::diagnostic::{Diagnostics, Findings, Source};
use crate::file::node;

/// Makes a policy file from the text of a `LiteLLM` configuration.
///
/// # Errors
/// Returns what is wrong with the file if it cannot be read, or if no entry of `model_list` has a counterpart.
pub fn litellm(source: &Source) -> Result<Imported, Diagnostics> {
    let mut findings = Findings::default();
    let drafted = node::parse(&source.text, &mut findings).and_then(|root| {
        let config = Config::read(&root, &mut findings)?;
        let groups = Groups::of(&config, &mut findings);
        if groups.is_empty() {
            let hint = "write the file by hand: `portcullis schema` prints its format";
            let message = "no entry of `model_list` has a counterpart";
            findings.error_with_hint(config.list_at, message, hint);
            return None;
        }
        Some(groups)
    });
    let (groups, notes) = findings.finish(&source.name, drafted)?;
    Ok(Imported { text: render::policy_file(&source.name, &groups, &notes), notes })
}
