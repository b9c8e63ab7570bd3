//! `portcullis plan`: what a change of the policy opens and closes, for the reviewer of the change.

mod git;
mod replay;

use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use policy::Policy;
use policy::plan::Plan;

use super::{CommandError, compile, print_json, read_policy};
use crate::cli;

pub(super) fn run(settings: &cli::Plan) -> Result<ExitCode, CommandError> {
    let base = base(&settings.base, &settings.new)?;
    let new = read_policy(&settings.new)?;
    let plan = Plan::between(&base, &new);
    let tally = settings.replay.as_deref().map(|dir| replay::run(dir, &base, &new)).transpose()?;
    let mut out = stdout().lock();
    if settings.json {
        let mut value = plan.to_json();
        if let Some(tally) = &tally {
            value["replay"] = tally.to_json();
        }
        print_json(&mut out, &value)?;
    } else if settings.markdown {
        write!(out, "{}", plan.to_markdown())?;
        if let Some(tally) = &tally {
            writeln!(out, "\n### Recorded calls\n\n```text\n{tally}\n```")?;
        }
    } else {
        writeln!(out, "{plan}")?;
        if let Some(tally) = &tally {
            writeln!(out, "{tally}")?;
        }
    }
    Ok(ExitCode::from(plan.exit_code()))
}

/// Reads the policy in force: a file, a folder of files, or what stands at a revision where the new policy stands now.
fn base(base: &str, new: &Path) -> Result<Policy, CommandError> {
    let path = Path::new(base);
    if path.exists() {
        return read_policy(path);
    }
    compile(&git::at(base, new)?)
}
