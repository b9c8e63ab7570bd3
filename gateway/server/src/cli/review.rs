//! The command line of what looks at a policy before it runs: `test`, `explain`, `plan`.

use std::path::PathBuf;

use clap::Args;
use policy::{IndirectKind, KeyId, Moment, Who};

use crate::command;

pub(super) const TEST_HELP: &str = "\
The cases stand beside the policy: routes_test.yaml beside routes.yaml, or every *_test.yaml in its folder.
Each says who calls, what is known of the request, and what the policy has to make of it:

  version: 1
  cases:
    - name: docs with tools stay here
      caller: { api_key: docs-bot }       # the key's id, never the key; or { loopback: true }
      workflow: docs-update               # what the header or the path names, if anything
      request: { model: opus-4, input_tokens: 9000, tools: true }
      expect: { decision: allow, to: [qwen] }
    - name: a slip in the model's name is told
      caller: { api_key: docs-bot }
      request: { model: opsu }
      expect: { decision: deny, code: policy.unknown_model }

Exit code 1 if a case fails or too few rules were met.";

pub(super) const EXPLAIN_HELP: &str = "\
Examples:
  portcullis explain --caller docs-bot --model opus-4 --input-tokens 9000
  portcullis explain --workflow docs-update --tools shell     whoever calls
  portcullis explain --caller loopback --workflow try-it --json

Every rule is listed in the order in which it is asked, with the value that it looked at. Nothing is sent.";

pub(super) const PLAN_HELP: &str = "\
Examples:
  portcullis plan --base main                       the policy as it is on the branch main, against the one here
  portcullis plan --base old.yaml new.yaml --json
  portcullis plan --base main --markdown            for a comment on the pull request
  portcullis plan --base main --replay data/audit   and what would have become of recorded calls

A base that is neither a file nor a folder is a revision of git. `git ls-tree` and `git cat-file` read what
stands there where the new policy stands here.

Exit code: 0 nothing changes, 2 something changes, 3 something becomes possible that was not: reach, callers,
limits, shorter retention, fewer denied hosts; 1 if there is no plan.";

/// What to test.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// The policy: a file, or a folder of files
    #[arg(env = "PORTCULLIS_ROUTES", default_value = "routes.yaml", value_name = "FILE|DIR")]
    pub(crate) routes: PathBuf,
    /// The file of cases [default: `routes_test.yaml` beside `routes.yaml`, or each `*_test.yaml` in the folder]
    #[arg(long, value_name = "FILE")]
    pub(crate) cases: Option<PathBuf>,
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
    /// Write the results for build servers too, as the XML of `JUnit`
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Fail unless this share of the route entries, and of the reasons to refuse, was met
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) require_coverage: Option<u8>,
}

/// What to explain.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The workflow that the call names; without --caller, whoever calls
    #[arg(long, value_name = "NAME", required_unless_present = "caller")]
    pub(crate) workflow: Option<String>,
    /// Who calls: the id of an API key, its caller's name, or loopback
    #[arg(long, value_name = "KEY-ID|loopback", value_parser = caller)]
    pub(crate) caller: Option<Who>,
    /// The model that the request names
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) model: String,
    /// The estimated length of the prompt
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) input_tokens: u64,
    /// The names of the tools that the request offers, with commas between them
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub(crate) tools: Vec<String>,
    /// The request holds images
    #[arg(long)]
    pub(crate) images: bool,
    /// What the request asks of a model's server beyond its answer, such as `remote_url`, with commas between them
    #[arg(long, value_name = "KINDS", value_delimiter = ',', value_parser = content)]
    pub(crate) content: Vec<IndirectKind>,
    /// What the call is for, as its header x-portcullis-task says
    #[arg(long, value_name = "LABEL")]
    pub(crate) task: Option<String>,
    /// When the request comes, such as 2026-11-25T10:00:00Z [default: now]
    #[arg(long, value_name = "TIME", value_parser = command::moment)]
    pub(crate) time: Option<Moment>,
    /// The policy: a file, or a folder of files
    #[arg(long, env = "PORTCULLIS_ROUTES", default_value = "routes.yaml", value_name = "FILE|DIR")]
    pub(crate) routes: PathBuf,
    /// Print JSON, for programs
    #[arg(long)]
    pub(crate) json: bool,
}

/// What to compare.
#[derive(Debug, Args)]
pub(crate) struct Plan {
    /// The policy in force: a file, a folder of files, or a revision of git
    #[arg(long, value_name = "FILE|DIR|REV")]
    pub(crate) base: String,
    /// The new policy, a file or a folder
    #[arg(env = "PORTCULLIS_ROUTES", default_value = "routes.yaml", value_name = "NEW")]
    pub(crate) new: PathBuf,
    /// Print JSON, for programs
    #[arg(long, conflicts_with = "markdown")]
    pub(crate) json: bool,
    /// Print Markdown, for a pull request
    #[arg(long)]
    pub(crate) markdown: bool,
    /// Decide the calls recorded in DIR by both policies, and count those whose outcome differs
    #[arg(long, value_name = "DIR")]
    pub(crate) replay: Option<PathBuf>,
}

fn caller(text: &str) -> Result<Who, policy::NameError> {
    if text == "loopback" { Ok(Who::Loopback) } else { KeyId::new(text).map(Who::ApiKey) }
}

fn content(word: &str) -> Result<IndirectKind, String> {
    let known = IndirectKind::ALL.into_iter().find(|kind| kind.as_str() == word);
    known.ok_or_else(|| format!("there is {}", IndirectKind::ALL.map(IndirectKind::as_str).join(", ")))
}
