//! The subcommands, one file each.

mod audit;
mod check;
mod key;
mod models;
mod serve;

use std::path::Path;
use std::process::ExitCode;

use policy::Source;

use crate::cli::{AuditCommand, Cli, Command, KeyCommand};

/// Exit code of a command that could not do its work.
pub(crate) const FAILED: u8 = 1;

/// Why a command failed; printed with its causes.
pub(crate) type CommandError = Box<dyn std::error::Error + Send + Sync>;

/// Runs what the command line says.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, CommandError> {
    match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(settings)) => serve::run(&settings),
        Some(Command::Check { file }) => check::run(&file),
        Some(Command::Key { command: KeyCommand::New { id } }) => key::new(&id),
        Some(Command::Audit { command: AuditCommand::Verify { dir } }) => audit::verify(&dir),
        Some(Command::Models { command }) => models::run(command),
    }
}

/// Reads a policy file's text; what is in it is for the compiler.
fn read_source(file: &Path) -> Result<Source, CommandError> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| format!("cannot read the policy file {}: {error}", file.display()))?;
    Ok(Source { name: file.display().to_string(), text })
}
