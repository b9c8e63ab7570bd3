//! The subcommands, one file each.

mod audit;
pub(crate) mod check;
mod explain;
pub(crate) mod import;
pub(crate) mod key;
mod models;
mod plan;
pub(crate) mod proxy;
mod revocation;
pub(crate) mod schema;
pub(crate) mod seal;
mod serve;
pub(crate) mod sign;
pub(crate) mod test;
pub(crate) mod verify;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use policy::{Moment, Policy, Source};

use crate::cli::{AuditCommand, Cli, Command, SealCommand};
use crate::policy_files::PolicyFiles;

/// Exit code of a command that could not do its work.
pub(crate) const FAILED: u8 = 1;

/// Why a command failed; printed with its causes.
pub(crate) type CommandError = Box<dyn std::error::Error + Send + Sync>;

/// Runs what the command line says.
pub(crate) fn run(cli: Cli) -> Result<ExitCode, CommandError> {
    match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(settings)) => serve::run(&settings),
        Some(Command::Proxy(settings)) => proxy::run(&settings),
        Some(Command::Check(settings)) => check::run(&settings),
        Some(Command::Test(settings)) => test::run(&settings),
        Some(Command::Explain(settings)) => explain::run(settings),
        Some(Command::Plan(settings)) => plan::run(&settings),
        Some(Command::Schema(settings)) => schema::run(&settings),
        Some(Command::Import { command }) => import::run(&command),
        Some(Command::Sign(settings)) => sign::run(&settings),
        Some(Command::Verify(settings)) => verify::run(&settings),
        Some(Command::Key { command }) => key::run(&command),
        Some(Command::Audit { command: AuditCommand::Verify { dir } }) => audit::verify(&dir),
        Some(Command::Audit { command: AuditCommand::Reconcile(asked) }) => audit::reconcile(&asked),
        Some(Command::Models { command }) => models::run(command),
        Some(Command::Seal { command: SealCommand::Test { settings, json } }) => seal::test(&settings, json),
    }
}

/// Reads the text of a file that people write; what is in it is for its reader.
pub(crate) fn read_source(file: &Path) -> Result<Source, CommandError> {
    let text =
        std::fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Ok(Source { name: file.display().to_string(), text })
}

/// Reads a policy that has to be right, from a file or a folder.
fn read_policy(routes: &Path) -> Result<Policy, CommandError> {
    compile(&PolicyFiles::read(routes)?)
}

/// Compiles a policy that has to be right.
fn compile(files: &PolicyFiles) -> Result<Policy, CommandError> {
    files.compile().map_err(|errors| format!("the policy is not valid\n{errors}").into())
}

/// Reads a moment of the command line.
pub(crate) fn moment(text: &str) -> Result<Moment, &'static str> {
    Moment::parse(text).ok_or("write a date, 2027-01-31, or a moment in UTC, 2027-01-31T06:00:00Z")
}

/// Reads a duration of the command line, as the policy file writes them.
fn read_duration(text: &str) -> Result<Duration, &'static str> {
    policy::read_duration(text).ok_or("write a number and a unit, such as 90d or 12h")
}

/// Writes JSON for a program.
fn print_json(out: &mut impl Write, value: &serde_json::Value) -> std::io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}
