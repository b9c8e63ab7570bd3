//! The command line. Every server setting is a flag with an environment twin; what may go where is not here
//! but in `routes.yaml`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};

/// The one door through which your agents reach language models
#[derive(Debug, Parser)]
#[command(name = "portcullis", version, max_term_width = 100, disable_help_flag = true)]
#[command(args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Start with `portcullis check` to see what your policy says, then `portcullis serve`."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    #[command(flatten)]
    pub(crate) serve: Serve,
    /// Print help
    #[arg(short, long, global = true, action = ArgAction::HelpShort)]
    help: Option<bool>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve models and upstreams under the policy (the default)
    Serve(Serve),
    /// Check a policy file: errors with line, column and hint; exit code 1 if there are any
    Check {
        /// The policy file
        #[arg(default_value = "routes.yaml")]
        file: PathBuf,
    },
    /// API keys for callers
    Key {
        #[command(subcommand)]
        command: KeyCommand,
    },
    /// The record of what happened
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
}

/// What to do with API keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key: prints it once, and the line that lets its holder into a workflow
    New {
        /// What the key is called in records, such as ci-7f3a
        id: String,
    },
}

/// What to do with audit records.
#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Verify the chain of records in DIR; exit code 0 intact, 10 gaps, 40 altered, 50 cannot tell
    Verify {
        /// The folder with audit-*.jsonl files
        dir: PathBuf,
    },
}

/// Settings of a serving process.
#[derive(Clone, Debug, Args)]
pub(crate) struct Serve {
    /// The policy file
    #[arg(long, env = "PORTCULLIS_ROUTES", default_value = "routes.yaml", value_name = "FILE")]
    pub(crate) routes: PathBuf,
    /// Address for agents
    #[arg(long, env = "PORTCULLIS_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Address for Prometheus; without it, /metrics is on the agents' address
    #[arg(long, env = "PORTCULLIS_METRICS_LISTEN", value_name = "ADDR")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// Folder for audit records
    #[arg(long, env = "PORTCULLIS_DATA_DIR", default_value = "data", value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Certificate authorities to trust besides the public ones, as PEM
    #[arg(long, env = "PORTCULLIS_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Memory for each local model's KV cache, in MiB
    #[arg(long, env = "PORTCULLIS_KV_CACHE_MIB", default_value_t = 1024, value_name = "MIB")]
    pub(crate) kv_cache_mib: u64,
    /// How long running replies may go on after SIGTERM, in seconds
    #[arg(long, env = "PORTCULLIS_DRAIN_SECONDS", default_value_t = 30, value_name = "SECONDS")]
    pub(crate) drain_seconds: u64,
    /// What to log, such as info, or warn,portcullis=debug
    #[arg(long, env = "PORTCULLIS_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
}

impl Serve {
    pub(crate) fn drain_limit(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_before_the_command_are_an_error_and_not_ignored() {
        assert!(Cli::try_parse_from(["portcullis", "--routes", "a.yaml", "serve"]).is_err());
        let after = Cli::try_parse_from(["portcullis", "serve", "--routes", "a.yaml"]).unwrap();
        assert!(matches!(after.command, Some(Command::Serve(serve)) if serve.routes.as_os_str() == "a.yaml"));
        let alone = Cli::try_parse_from(["portcullis", "--routes", "a.yaml"]).unwrap();
        assert_eq!(alone.serve.routes.as_os_str(), "a.yaml");
    }
}
