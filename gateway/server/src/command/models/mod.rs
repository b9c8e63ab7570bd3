//! `portcullis models`: the files of local models.
//!
//! `pull` is the one command that talks to a hub. It is a process of its own, so that a company can let it out, or run
//! it on another machine, without letting a server out; `.ci/tidy` holds that nothing else names the hub's client.

mod choice;
mod inspect;
mod list;
mod pull;
mod verify;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use policy::{Model, Policy, Target};

use super::{CommandError, print_json, read_policy};
use crate::cli::ModelsCommand;
use crate::policy_files;

/// Runs one of the commands.
pub(super) fn run(command: ModelsCommand) -> Result<ExitCode, CommandError> {
    match command {
        ModelsCommand::Pull(settings) => pull::run(settings),
        ModelsCommand::Inspect(settings) => inspect::run(&settings),
        ModelsCommand::Verify(settings) => verify::run(&settings),
        ModelsCommand::List(settings) => list::run(&settings),
    }
}

/// A policy, and the folder that its paths are relative to.
struct Routes {
    policy: Policy,
    base: PathBuf,
}

impl Routes {
    fn read(routes: &Path) -> Result<Self, CommandError> {
        Ok(Self { policy: read_policy(routes)?, base: policy_files::folder(routes).to_owned() })
    }

    /// The models that this process would serve itself, and where their files are.
    fn local(&self) -> impl Iterator<Item = (&Model, PathBuf)> {
        self.policy.models().filter_map(|model| match model.target() {
            Target::Engine(target) => Some((model, self.base.join(target.path()))),
            Target::Http(_) => None,
        })
    }
}
