//! One child of the supervisor.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{self, Command, ExitStatus, Stdio};

use egress::line::{self, Line};
use rustix::process::{Pid, Signal};
use tokio::sync::mpsc;

use super::listeners::Listeners;
use super::{Role, lifeline};
use crate::cli::Serve;

/// Something that happened to a child.
#[derive(Debug)]
pub(super) enum News {
    /// It does its work.
    Ready(Role),
    /// It has ended.
    Ended(Role, ExitStatus),
}

/// A child that runs.
pub(super) struct Child {
    pid: Pid,
}

/// How children are started.
pub(super) struct Nursery {
    pub(super) program: std::path::PathBuf,
    pub(super) arguments: Vec<OsString>,
    pub(super) news: mpsc::Sender<News>,
}

impl Nursery {
    /// Starts a child with what it begins with.
    pub(super) fn start(
        &self,
        role: Role,
        listeners: &Listeners,
        end: &std::os::fd::OwnedFd,
    ) -> io::Result<Child> {
        let (near, far) = line::pair()?;
        lifeline::bequeath(&near, listeners, Some(end))?;
        let mut command = Command::new(&self.program);
        command.arg0(format!("portcullis: {}", role.as_str()));
        command.args(&self.arguments).arg("--process").arg(role.as_str()).stdin(Stdio::from(far));
        command.env_remove(super::supervisor::SUCCESSOR);
        let mut process = command.spawn()?;
        drop(command);
        let pid = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("a process without a number"))?;
        let news = self.news.clone();
        std::thread::Builder::new().name(format!("wait-{}", role.as_str())).spawn(move || {
            // It cannot fail: the child is ours, and nobody else waits for it.
            if let Ok(status) = process.wait() {
                drop(news.blocking_send(News::Ended(role, status)));
            }
        })?;
        let near = Line::new(near)?;
        let news = self.news.clone();
        tokio::spawn(async move {
            if lifeline::is_ready(&near).await {
                drop(news.send(News::Ready(role)).await);
            }
            // Held until the child has ended: with it, a gateway would see that its supervisor has gone.
            while let Ok(Some(_)) = near.receive().await {}
        });
        Ok(Child { pid })
    }
}

impl Child {
    /// Sends it a signal; one that has ended meanwhile gets none.
    pub(super) fn signal(&self, signal: Signal) {
        if let Err(error) = rustix::process::kill_process(self.pid, signal) {
            tracing::debug!(%error, "a child was not signalled");
        }
    }
}

/// Starts a broker with some settings, for a command that needs one.
pub(crate) fn broker(settings: &Serve, lifeline: std::os::fd::OwnedFd) -> io::Result<process::Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("serve").arg("--process").arg(Role::Broker.as_str());
    command.arg("--routes").arg(&settings.routes).arg("--data-dir").arg(&settings.data_dir);
    let files = [("--revocations", &settings.revocations), ("--policy-keys", &settings.policy_keys)];
    for (flag, file) in files {
        if let Some(file) = file {
            command.arg(flag).arg(file);
        }
    }
    if let Some(threshold) = settings.policy_threshold {
        command.arg("--policy-threshold").arg(threshold.to_string());
    }
    command.arg("--log").arg(&settings.log).stdin(Stdio::from(lifeline)).spawn()
}

/// Replaces this program by what lies at `program` now, which takes over the listeners. Returns only if it fails.
pub(super) fn succeed(program: &Path, arguments: &[OsString], listeners: &Listeners) -> io::Error {
    let prepared = line::pair().and_then(|(near, far)| {
        // The message waits in the line with its descriptors, whether or not this end is still there.
        lifeline::bequeath(&near, listeners, None)?;
        Ok(far)
    });
    match prepared {
        Ok(far) => {
            let mut command = Command::new(program);
            command.args(arguments).env(super::supervisor::SUCCESSOR, "true").stdin(Stdio::from(far)).exec()
        }
        Err(error) => error,
    }
}
