//! `portcullis`: the one door through which agents reach language models.
//!
//! In reading order: `cli` (what can be said on the command line), `command` (one file per subcommand), `app`
//! (the parts of a serving process) and `active` (one policy and what was built for it), `http` (transport), `pipeline` (the way of one call, from bytes to
//! reply), `question` (what can be asked), and around it `identity`, `record`, `reply`, `error`, `metrics`. `stored` keeps answers that may be continued, `signed` decides whether a policy may load. Changes while
//! it runs: `reload` (the policy), `overlay` and `revoked` (what is denied at once), `admin` (the operators' address). Local
//! models: `checkpoint` (their files) and `progress` (how long work is shown).

mod active;
mod admin;
mod app;
mod checkpoint;
mod cli;
mod clock;
mod command;
mod doorway;
mod durable;
mod error;
mod facts;
mod fleet;
mod http;
mod identity;
mod log;
mod metrics;
mod models;
mod overlay;
mod pipeline;
mod policy_files;
mod probes;
mod processes;
mod progress;
mod question;
mod record;
mod reload;
mod reply;
mod revoked;
mod routed;
mod seal_check;
mod shadow;
mod signed;
mod stored;
mod tokens;
mod tunnel_metrics;
mod tunnel_trail;
mod witness;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match command::run(cli) {
        Ok(code) => code,
        Err(error) => {
            // The last words of a command line program belong on stderr, log level or not.
            let _ = writeln!(std::io::stderr(), "portcullis: {}", error::with_causes(&*error));
            ExitCode::from(command::FAILED)
        }
    }
}
