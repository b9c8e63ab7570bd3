//! The command line of `portcullis models`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

pub(super) const HELP: &str = "\
From a hub to an answer:
  portcullis models pull Qwen/Qwen3-0.6B       loads it, and prints its line for routes.yaml
  portcullis models inspect models/Qwen3-0.6B  says what it is and takes
  portcullis models list                       shows whether routes.yaml finds it
  portcullis serve                             checks its digest, and serves it

A server never talks to a hub: only `models pull` does, as a process of its own.";

const PULL_HELP: &str = "\
Examples:
  portcullis models pull Qwen/Qwen3-0.6B                  the newest commit, into models/Qwen3-0.6B
  portcullis models pull Qwen/Qwen3-0.6B@1a2b3c --to m    a branch, a tag or a commit, into m
  portcullis models pull org/Small-GGUF --file s-q8.gguf  one GGUF file

Configuration, tokenizer, chat templates and safetensors come, all of one commit. Each file is
compared with the hub's checksum before it gets its name. If the command is stopped, or the
network fails, run it again: it goes on where it was.

Gated and private repositories need a token, in HF_TOKEN or in a file. What the environment says
about proxies is not used.";

const INSPECT_HELP: &str = "\
Examples:
  portcullis models inspect models/Qwen3-0.6B     a folder that was pulled
  portcullis models inspect some-q8_0.gguf        a GGUF file
  portcullis models inspect config.json           before anything else is loaded
  portcullis models inspect demo                  a local model of routes.yaml

No weights are read. A model that cannot be served is refused with the reason.";

const VERIFY_HELP: &str = "\
A model should be what `digest` in routes.yaml says. The portcullis-model.json that `models pull`
leaves beside the files names those that differ.

Exit code: 0 intact, 10 nothing to compare with, 40 altered, 50 cannot tell; of several models
the highest.";

/// What to do with models.
#[derive(Debug, Subcommand)]
pub(crate) enum ModelsCommand {
    /// Load a model from a hub into a plain folder
    #[command(after_help = PULL_HELP)]
    Pull(Pull),
    /// Show what a model is and takes: size, memory, cache for each token
    #[command(after_help = INSPECT_HELP)]
    Inspect(Inspect),
    /// Check that models are the files that they should be
    #[command(after_help = VERIFY_HELP)]
    Verify(Verify),
    /// Show the models of routes.yaml: who serves them, and which are here
    List(List),
}

/// What to load, and from where.
#[derive(Debug, Args)]
pub(crate) struct Pull {
    /// The repository, and after @ a branch, a tag or a commit
    #[arg(value_name = "ORG/NAME[@REVISION]")]
    pub(crate) model: String,
    /// The folder to put it in [default: models/NAME]
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,
    /// Load this one GGUF file instead of safetensors
    #[arg(long, value_name = "NAME.gguf")]
    pub(crate) file: Option<String>,
    /// The hub, or a mirror of it
    #[arg(long, env = "HF_ENDPOINT", default_value = "https://huggingface.co", value_name = "URL")]
    pub(crate) endpoint: String,
    /// File with the hub's token, if `HF_TOKEN` is not set [default: the hub's own, below `HF_HOME`]
    #[arg(long, env = "HF_TOKEN_PATH", value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// Proxy for all of it, as an address: host and port after `http://`
    #[arg(long, env = "PORTCULLIS_HUB_PROXY", value_name = "URL")]
    pub(crate) proxy: Option<String>,
    /// Certificate authorities to trust instead of the public ones, as PEM
    #[arg(long, env = "PORTCULLIS_HUB_CA_FILE", value_name = "FILE")]
    pub(crate) ca_file: Option<PathBuf>,
}

/// What to look at.
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// A folder, a GGUF file, a config.json alone, or a local model of routes.yaml
    #[arg(value_name = "PATH|NAME")]
    pub(crate) model: String,
    /// The policy: a file, or a folder of files
    #[arg(long, env = "PORTCULLIS_ROUTES", default_value = "routes.yaml", value_name = "FILE|DIR")]
    pub(crate) routes: PathBuf,
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to check.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// A model of routes.yaml, or a folder or GGUF file [default: every local model of routes.yaml]
    #[arg(value_name = "NAME|PATH")]
    pub(crate) model: Option<String>,
    /// The policy: a file, or a folder of files
    #[arg(long, env = "PORTCULLIS_ROUTES", default_value = "routes.yaml", value_name = "FILE|DIR")]
    pub(crate) routes: PathBuf,
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to list.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// The policy: a file, or a folder of files
    #[arg(long, env = "PORTCULLIS_ROUTES", default_value = "routes.yaml", value_name = "FILE|DIR")]
    pub(crate) routes: PathBuf,
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}
