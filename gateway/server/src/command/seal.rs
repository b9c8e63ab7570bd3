//! `portcullis seal test`: whether this machine and this policy hold a gateway, found out by being one.
//!
//! The command starts a broker, confines itself as a gateway does, and tries every way out. It serves nobody. A server
//! that runs does the same at its start, after each reload, and at `POST /admin/seal-test`.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode};

use egress::{Brokered, line};
use policy::Policy;
use serde_json::json;

use super::{CommandError, print_json};
use crate::cli::Serve;
use crate::processes::listeners::Listeners;
use crate::processes::{child, confinement, lifeline};
use crate::seal_check::{Report, SealCheck};
use crate::{log, signed};

pub(crate) const HELP: &str = "\
Example:
  portcullis seal test                     every way out, tried from inside
  portcullis seal test --log debug --json  for programs

Exit code: 0 every wall holds, 1 one does not, or there is none.

A running server is asked by POST /admin/seal-test at its operators' address.";

/// Exit code for a wall that does not hold.
const BROKEN: u8 = 1;

pub(super) fn test(settings: &Serve, as_json: bool) -> Result<ExitCode, CommandError> {
    log::begin(&settings.log, None)?;
    let (policy, _) = signed::read_policy(settings)?;
    // A folder of its own: that of a server is locked while it runs. It lies where a gateway may write, to be removed.
    let scratch = Scratch::make(&settings.data_dir.join(signed::STATE_FOLDER))?;
    let (near, far) = line::pair()?;
    let broker = Broker::start(&Serve { data_dir: scratch.0.clone(), ..settings.clone() }, &far)?;
    // The broker ends when nobody holds this command's end, so it must not hold the broker's.
    drop(far);
    let context = confinement::begin(settings, &policy)?;
    let report = try_walls(&policy, near, context)?;
    drop((broker, scratch));
    let mut out = std::io::stdout().lock();
    if as_json {
        print_json(&mut out, &json!(report))?;
    } else {
        print(&mut out, &report)?;
    }
    Ok(if report.holds() { ExitCode::SUCCESS } else { ExitCode::from(BROKEN) })
}

fn try_walls(
    policy: &Policy,
    line: OwnedFd,
    context: seal::escapes::Context,
) -> Result<Report, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let check = SealCheck::new(Some(context), Brokered::start(line)?);
        Ok(check.run(policy).await)
    })
}

fn print(out: &mut impl Write, report: &Report) -> std::io::Result<()> {
    for tried in &report.layers {
        let state = if tried.escapes.is_empty() { "holds" } else { "BROKEN" };
        writeln!(out, "{:<10} {state:<7} {} attempts", tried.layer, tried.attempts)?;
        for escape in &tried.escapes {
            writeln!(out, "           - {escape}")?;
        }
    }
    writeln!(out, "{}", if report.holds() { "every wall holds" } else { "a wall does not hold" })
}

/// A broker for this command alone; it ends when this does.
struct Broker {
    process: Child,
    lifeline: Option<OwnedFd>,
}

impl Broker {
    fn start(settings: &Serve, end: &OwnedFd) -> Result<Self, CommandError> {
        let nowhere = Serve { listen: ([127, 0, 0, 1], 0).into(), ..settings.clone() };
        let nowhere = Serve { metrics_listen: None, admin_listen: None, ..nowhere };
        let listeners = Listeners::bind(&nowhere)?;
        let (near, far) = line::pair()?;
        lifeline::bequeath(&near, &listeners, Some(end))?;
        let process = child::broker(settings, far)?;
        Ok(Self { process, lifeline: Some(near) })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.lifeline = None;
        let _ = self.process.wait();
    }
}

/// A folder that goes with the command.
struct Scratch(PathBuf);

impl Scratch {
    fn make(data: &Path) -> Result<Self, CommandError> {
        let folder = data.join(format!("seal-test-{}", std::process::id()));
        std::fs::create_dir_all(&folder)
            .map_err(|error| format!("cannot make {}: {error}", folder.display()))?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, folder = %self.0.display(), "a folder is left behind");
        }
    }
}
