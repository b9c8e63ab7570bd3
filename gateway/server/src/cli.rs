//! The command line. Every server setting is a flag with an environment twin; what may go where is not here
//! but in `routes.yaml`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::command::check::{self, Check};
use crate::command::import::ImportCommand;
use crate::command::key::KeyCommand;
use crate::command::proxy::{self, Proxy};
use crate::command::schema;
use crate::command::seal;
use crate::command::sign::{self, Sign};
use crate::command::verify;
use crate::processes::Role;
use crate::processes::supervisor::SUCCESSOR;

mod models;
mod review;

pub(crate) use models::{Inspect, List, ModelsCommand, Pull, Verify};
pub(crate) use review::{Explain, Plan, Test};

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
#[expect(clippy::large_enum_variant, reason = "one is made, at the start of a process")]
pub(crate) enum Command {
    /// Serve models and upstreams under the policy (the default)
    Serve(Serve),
    /// Let agents' tools out of their sandbox, to what the policy names beside models
    #[command(after_help = proxy::HELP)]
    Proxy(Proxy),
    /// Check a policy: errors and warnings with line, column and hint; exit code 1 if there are errors
    #[command(after_help = check::HELP)]
    Check(Check),
    /// Print the JSON Schema of routes.yaml
    #[command(after_help = schema::HELP)]
    Schema(schema::Schema),
    /// Carry another gateway's configuration over into a policy file
    Import {
        #[command(subcommand)]
        command: ImportCommand,
    },
    /// Run the policy's test cases, and show which rules none of them meets
    #[command(after_help = review::TEST_HELP)]
    Test(Test),
    /// Explain why a call goes where it goes
    #[command(after_help = review::EXPLAIN_HELP)]
    Explain(Explain),
    /// Show what a change of the policy opens and closes
    #[command(after_help = review::PLAN_HELP)]
    Plan(Plan),
    /// Sign a policy, so that servers with its keys load it and no other
    #[command(after_help = sign::HELP)]
    Sign(Sign),
    /// Check that a policy is what its owners signed
    #[command(after_help = verify::HELP)]
    Verify(verify::Verify),
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
    /// Whether the process that answers calls can get out
    Seal {
        #[command(subcommand)]
        command: SealCommand,
    },
    /// Local models: load them from a hub, check them, see which are there
    #[command(after_help = models::HELP)]
    Models {
        #[command(subcommand)]
        command: ModelsCommand,
    },
}

/// What to do with the seal.
#[derive(Debug, Subcommand)]
pub(crate) enum SealCommand {
    /// Confine this command as a gateway is, and try every way out
    #[command(after_help = seal::HELP)]
    Test {
        #[command(flatten)]
        settings: Box<Serve>,
        /// Print JSON, for programs
        #[arg(long)]
        json: bool,
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
    /// Hold the record of calls against the record of connections
    #[command(after_help = RECONCILE_HELP)]
    Reconcile(Reconcile),
}

const RECONCILE_HELP: &str = "\
Every connection that was opened should be explained by a call that names it, and every call
that names a connection should be on the record of whoever opened it. Both records are verified
while they are read; one that was altered answers nothing. docs/audit.md lists what is found.

Example:
  portcullis audit reconcile data/audit data/witness

Exit code: 0 all is explained, 10 evidence is missing, 40 the records contradict each other,
50 cannot tell.";

/// What to hold against each other.
#[derive(Debug, Args)]
pub(crate) struct Reconcile {
    /// The gateway's folder with audit-*.jsonl files
    #[arg(value_name = "GATEWAY_DIR")]
    pub(crate) gateway: PathBuf,
    /// The same of those who opened the connections: the broker, and the proxy for agents if there is one
    #[arg(value_name = "WITNESS_DIR", required = true)]
    pub(crate) witnesses: Vec<PathBuf>,
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// Settings of a serving process.
#[derive(Clone, Debug, Args)]
pub(crate) struct Serve {
    /// The policy: a file, or a folder of files
    #[arg(long, env = "PORTCULLIS_ROUTES", default_value = "routes.yaml", value_name = "FILE|DIR")]
    pub(crate) routes: PathBuf,
    /// Address for agents
    #[arg(long, env = "PORTCULLIS_LISTEN", default_value = "127.0.0.1:8080", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Address for Prometheus; without it, /metrics is on the agents' address
    #[arg(long, env = "PORTCULLIS_METRICS_LISTEN", value_name = "ADDR")]
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// File with the bearer token that /metrics wants; without it, /metrics is open to whoever gets there
    #[arg(long, env = "PORTCULLIS_METRICS_TOKEN_FILE", value_name = "FILE")]
    pub(crate) metrics_token_file: Option<PathBuf>,
    /// Address for operators: /admin/policy and /admin/reload; off without it
    #[arg(long, env = "PORTCULLIS_ADMIN_LISTEN", value_name = "ADDR", requires = "admin_token_file")]
    pub(crate) admin_listen: Option<SocketAddr>,
    /// File with the bearer token for the operators' address
    #[arg(long, env = "PORTCULLIS_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub(crate) admin_token_file: Option<PathBuf>,
    /// Callers, keys, workflows, providers and hosts to deny at once [default: revocations.yaml beside the policy,
    /// if there is one]
    #[arg(long, env = "PORTCULLIS_REVOCATIONS", value_name = "FILE")]
    pub(crate) revocations: Option<PathBuf>,
    /// Take a policy only if its test cases pass: `routes_test.yaml` beside `routes.yaml`, or all in the folder
    #[arg(long, env = "PORTCULLIS_REQUIRE_TESTS")]
    pub(crate) require_tests: bool,
    /// How often to look whether the policy has changed, such as 5s
    #[arg(long, env = "PORTCULLIS_POLICY_POLL", default_value = "5s", value_name = "TIME", value_parser = positive)]
    pub(crate) policy_poll: Duration,
    /// Least time between two reloads, such as 2s
    #[arg(long, env = "PORTCULLIS_POLICY_SPACING", default_value = "2s", value_name = "TIME", value_parser = duration)]
    pub(crate) policy_spacing: Duration,
    /// Folder for audit records
    #[arg(long, env = "PORTCULLIS_DATA_DIR", default_value = "data", value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Certificate authorities to trust besides the public ones, as PEM
    #[arg(long, env = "PORTCULLIS_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
    /// Keys that sign policies, one on each line; with it, no policy loads that they did not sign
    #[arg(long, env = "PORTCULLIS_POLICY_KEYS", value_name = "FILE")]
    pub(crate) policy_keys: Option<PathBuf>,
    /// How many of those keys must have signed [default: 1]
    #[arg(long, env = "PORTCULLIS_POLICY_THRESHOLD", value_name = "N", requires = "policy_keys")]
    pub(crate) policy_threshold: Option<usize>,
    /// Load a signed policy even if a later one was in force
    #[arg(long, env = "PORTCULLIS_ALLOW_ROLLBACK", requires = "policy_keys")]
    pub(crate) allow_rollback: bool,
    /// Memory for each local model's KV cache, in MiB
    #[arg(long, env = "PORTCULLIS_KV_CACHE_MIB", default_value_t = 1024, value_name = "MIB")]
    pub(crate) kv_cache_mib: u64,
    /// Memory for all local models together, in MiB [default: what the system has]
    #[arg(long, env = "PORTCULLIS_ENGINE_MEMORY_MIB", value_name = "MIB")]
    pub(crate) engine_memory_mib: Option<u64>,
    /// A local model that is loaded when it is called first, and not at the start; may be repeated
    #[arg(long, env = "PORTCULLIS_ASLEEP", value_name = "MODEL", value_delimiter = ',')]
    pub(crate) asleep: Vec<String>,
    /// How long running replies may go on after SIGTERM, in seconds
    #[arg(long, env = "PORTCULLIS_DRAIN_SECONDS", default_value_t = 30, value_name = "SECONDS")]
    pub(crate) drain_seconds: u64,
    /// Whether the kernel takes every way out from the process that answers calls [default: required where the
    /// kernel can]
    #[arg(long, env = "PORTCULLIS_CONFINE", value_enum, value_name = "WHETHER")]
    pub(crate) confine: Option<Confine>,
    /// A folder that the confined process may read, besides those that settings and policy name; may be repeated
    #[arg(long, env = "PORTCULLIS_CONFINE_READ", value_name = "DIR", value_delimiter = ':')]
    pub(crate) confine_read: Vec<PathBuf>,
    /// Which of the server's processes this is
    #[arg(long, value_enum, hide = true)]
    pub(crate) process: Option<Role>,
    /// Whether the listeners come from the program that this one replaces
    #[arg(long, env = SUCCESSOR, hide = true)]
    pub(crate) successor: bool,
    /// What to log, such as info, or warn,portcullis=debug
    #[arg(long, env = "PORTCULLIS_LOG", default_value = "info", value_name = "FILTER")]
    pub(crate) log: String,
}

/// Whether the kernel takes the ways out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Confine {
    /// It does, or the server does not start.
    Required,
    /// It does not: one process answers calls and opens connections.
    Off,
}

impl Serve {
    /// Returns whether connections are opened by a process of their own.
    pub(crate) fn is_confined(&self) -> bool {
        self.confine.map_or(cfg!(target_os = "linux"), |confine| confine == Confine::Required)
    }

    pub(crate) fn drain_limit(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }
}

/// Reads a time with its unit.
fn duration(text: &str) -> Result<Duration, String> {
    let unit = || "write a number and its unit, such as 500ms or 5s".to_owned();
    let time: jiff::SignedDuration = text.parse().map_err(|_| unit())?;
    Duration::try_from(time).map_err(|_| unit())
}

fn positive(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(time) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for wrong in ["5", "", "-1s", "soon"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
        assert!(positive("0s").is_err());
    }

    #[test]
    fn settings_before_the_command_are_an_error_and_not_ignored() {
        assert!(Cli::try_parse_from(["portcullis", "--routes", "a.yaml", "serve"]).is_err());
        let after = Cli::try_parse_from(["portcullis", "serve", "--routes", "a.yaml"]).unwrap();
        assert!(matches!(after.command, Some(Command::Serve(serve)) if serve.routes.as_os_str() == "a.yaml"));
        let alone = Cli::try_parse_from(["portcullis", "--routes", "a.yaml"]).unwrap();
        assert_eq!(alone.serve.routes.as_os_str(), "a.yaml");
    }
}
