//! `portcullis explain`: why a call goes where it goes.

use std::io::{Write, stdout};
use std::process::ExitCode;

use policy::{Ask, Facts, Indirect};

use super::{CommandError, print_json, read_policy};
use crate::cli::Explain;
use crate::clock;

pub(super) fn run(settings: Explain) -> Result<ExitCode, CommandError> {
    let Explain { workflow, caller, model, input_tokens, tools, images, content, task, time, routes, json } =
        settings;
    let policy = read_policy(&routes)?;
    let now = time.unwrap_or_else(clock::now).unix_s();
    let content = content.into_iter().map(|kind| Indirect { kind, path: String::new() }).collect();
    let facts = Facts { model, input_tokens, tools, images, content, task, now };
    let explanation = match (caller, workflow) {
        (Some(who), workflow) => policy.explain(&Ask { who, workflow, facts }),
        (None, Some(name)) => policy.explain_workflow(&name, &facts).ok_or_else(|| {
            let names: Vec<&str> = policy.workflows().map(|workflow| workflow.name().as_str()).collect();
            format!("the policy has no workflow `{name}`; there is {}", names.join(", "))
        })?,
        (None, None) => return Err("name a caller or a workflow".into()),
    };
    let mut out = stdout().lock();
    if json {
        print_json(&mut out, &explanation.to_json())?;
    } else {
        writeln!(out, "{explanation}")?;
    }
    Ok(ExitCode::SUCCESS)
}
