//! `portcullis check`: what a policy file says, or what is wrong with it.

use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use policy::Policy;

use super::{CommandError, FAILED, read_source};

pub(super) fn run(file: &Path) -> Result<ExitCode, CommandError> {
    let source = read_source(file)?;
    let mut out = stdout().lock();
    let policy = match Policy::compile(&source) {
        Ok(policy) => policy,
        Err(errors) => {
            writeln!(out, "{errors}")?;
            return Ok(ExitCode::from(FAILED));
        }
    };
    for warning in policy.warnings() {
        writeln!(out, "{}", warning.render(&source.name))?;
    }
    for workflow in policy.workflows() {
        let models: Vec<&str> = workflow.reachable_models().map(|model| model.name().as_ref()).collect();
        let mode = workflow.egress_mode().as_str();
        writeln!(
            out,
            "{}: {mode}, owner {}, reaches {}",
            workflow.name(),
            workflow.owner(),
            models.join(", ")
        )?;
    }
    writeln!(out, "{} is valid, digest {}", source.name, policy.digest())?;
    Ok(ExitCode::SUCCESS)
}
