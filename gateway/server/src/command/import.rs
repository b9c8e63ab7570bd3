//! `portcullis import`: another gateway's configuration, as a draft of routes.yaml.

use std::fs::File;
use std::io::{Write, stderr, stdout};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use policy::{Policy, Source};

use super::{CommandError, FAILED, read_source};

const LITELLM_HELP: &str = "\
Deployments become providers and models, groups become entries of a route, their load is spread as
`routing_strategy` and the rates say, and fallbacks stand behind them. What has no counterpart is
noted on stderr and in the file. No secret is copied: a key that stands in the configuration is
noted, with the file that it belongs into.

The result lets nobody in until `callers` names somebody. Exit code: 0 if it loads, 1 if not.";

/// What to carry over.
#[derive(Debug, Subcommand)]
pub(crate) enum ImportCommand {
    /// A `config.yaml` of `LiteLLM`
    #[command(after_help = LITELLM_HELP)]
    Litellm(Litellm),
}

/// A configuration of `LiteLLM`, and where to put what becomes of it.
#[derive(Debug, Args)]
pub(crate) struct Litellm {
    /// The configuration that `litellm --config` is started with
    file: PathBuf,
    /// The policy file to write; it must not exist [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(command: &ImportCommand) -> Result<ExitCode, CommandError> {
    let ImportCommand::Litellm(Litellm { file, out }) = command;
    let source = read_source(file)?;
    let mut notes = stderr().lock();
    let imported = match policy::import::litellm(&source) {
        Ok(imported) => imported,
        Err(errors) => {
            writeln!(notes, "{errors}")?;
            return Ok(ExitCode::from(FAILED));
        }
    };
    for note in &imported.notes {
        writeln!(notes, "{note}")?;
    }
    let name = if let Some(out) = out {
        // A policy that somebody wrote is not overwritten by a draft.
        let file = File::create_new(out);
        file.and_then(|mut file| file.write_all(imported.text.as_bytes()))
            .map_err(|error| format!("cannot write {}: {error}", out.display()))?;
        out.display().to_string()
    } else {
        stdout().lock().write_all(imported.text.as_bytes())?;
        "the draft".to_owned()
    };
    match Policy::compile(&Source { name, text: imported.text }) {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(errors) => {
            writeln!(notes, "the draft does not load yet:\n{errors}")?;
            Ok(ExitCode::from(FAILED))
        }
    }
}
