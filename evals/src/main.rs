//! The command `evals`: runs a suite against an endpoint and prints what came out.
//!
//! Exit codes: 0 every sample was answered (right or wrong), 4 some were not, 1 the run could not begin.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use evals::endpoint::{Endpoint, Key};
use evals::report::Report;
use evals::run::{Outcome, run};
use evals::score::Score;
use evals::suite::Suite;

/// Some samples have no answer, so the result says little about the model.
const INVALID_RUN: u8 = 4;

/// Judges a model by the answers it gives.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ask every sample of a suite once and print a table by skill.
    Run(RunArguments),
}

#[derive(clap::Args)]
struct RunArguments {
    /// The suite, one JSON object a line.
    #[arg(long)]
    suite: PathBuf,
    /// The server, up to and with its version.
    #[arg(long, default_value = "http://127.0.0.1:8080/v1")]
    base_url: String,
    /// The model to ask for.
    #[arg(long)]
    model: String,
    /// A file that holds the API key.
    #[arg(long)]
    api_key_file: Option<PathBuf>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// Why a run could not begin, or its result not be shown.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{path}: {source}")]
    Suite { path: PathBuf, source: evals::suite::SuiteError },
    #[error(transparent)]
    Output(#[from] io::Error),
}

fn main() -> ExitCode {
    let Command::Run(arguments) = Arguments::parse().command;
    judge(&arguments).unwrap_or_else(|failure| {
        // Nothing is left to be done if standard error is closed, too.
        let _ = writeln!(io::stderr(), "evals: {failure}");
        ExitCode::FAILURE
    })
}

fn judge(arguments: &RunArguments) -> Result<ExitCode, Failure> {
    let text = read(&arguments.suite)?;
    let suite =
        Suite::parse(&text).map_err(|source| Failure::Suite { path: arguments.suite.clone(), source })?;
    let key = arguments.api_key_file.as_deref().map(read).transpose()?;
    let key = key.as_deref().map(Key::from_file_text);
    let endpoint = Endpoint::new(&arguments.base_url, &arguments.model, key);
    let outcomes = run(&suite, &endpoint, |outcome| {
        // What went wrong is shown as it happens; the result on standard output stays clean.
        if let Some(line) = complaint(outcome) {
            let _ = writeln!(io::stderr(), "{line}");
        }
    });
    let report = Report::new(&outcomes);
    let mut out = io::stdout().lock();
    if arguments.json {
        serde_json::to_writer_pretty(&mut out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        writeln!(out, "{report}")?;
    }
    Ok(if report.is_complete() { ExitCode::SUCCESS } else { ExitCode::from(INVALID_RUN) })
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|source| Failure::File { path: path.to_owned(), source })
}

fn complaint(outcome: &Outcome<'_>) -> Option<String> {
    match &outcome.result {
        Ok(scored) => match &scored.score {
            Score::Right => None,
            Score::Wrong(reason) => Some(format!("{}: wrong: {reason}", outcome.sample.id)),
        },
        Err(error) => Some(format!("{}: errored: {error}", outcome.sample.id)),
    }
}
