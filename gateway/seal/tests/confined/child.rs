//! What the children do. A child is given a socket as its standard input, and answers with lines.

use std::io::{self, Read};
use std::net::{SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::str::FromStr;

use seal::escapes::{self, Context};
use seal::{Device, Rules};

use crate::roles::ROLE;
use crate::{packets, roles, siblings, works};

/// Arguments of a child, by name.
const FILE: &str = "SEAL_TEST_FILE";
const FOLDER: &str = "SEAL_TEST_FOLDER";
const PROCESS: &str = "SEAL_TEST_PROCESS";
const V4: &str = "SEAL_TEST_V4";
const V6: &str = "SEAL_TEST_V6";

/// A child that was not started yet.
pub(crate) struct Role {
    command: Command,
}

impl Role {
    pub(crate) fn new(name: &str) -> Self {
        Self::by(Command::new(std::env::current_exe().unwrap()), name)
    }

    /// The role, played by a command that starts this program.
    pub(crate) fn by(mut command: Command, name: &str) -> Self {
        command.env(ROLE, name).stdin(Stdio::null()).stdout(Stdio::piped());
        Self { command }
    }

    pub(crate) fn given(mut self, socket: impl Into<OwnedFd>) -> Self {
        self.command.stdin(Stdio::from(socket.into()));
        self
    }

    pub(crate) fn file(mut self, path: &std::path::Path) -> Self {
        self.command.env(FILE, path);
        self
    }

    pub(crate) fn folder(mut self, path: &std::path::Path) -> Self {
        self.command.env(FOLDER, path);
        self
    }

    pub(crate) fn process(mut self, id: u32) -> Self {
        self.command.env(PROCESS, id.to_string());
        self
    }

    pub(crate) fn addresses(mut self, v4: SocketAddrV4, v6: SocketAddrV6) -> Self {
        self.command.env(V4, v4.to_string()).env(V6, v6.to_string());
        self
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Command)) -> Self {
        change(&mut self.command);
        self
    }

    pub(crate) fn start(mut self) -> io::Result<Child> {
        self.command.spawn()
    }

    /// Runs to the end, which has to be a good one, and returns what was said.
    pub(crate) fn say(self) -> String {
        let output = self.start().unwrap().wait_with_output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}; {said}", output.status);
        said
    }
}

pub(crate) fn play(role: &str) {
    match role {
        "free" => attempt(),
        "confined" => {
            confine(&rules());
            attempt();
        }
        "confined with a GPU" => {
            confine(&Rules::new(Device::Cuda));
            attempt();
        }
        "start a program" => start_a_program(),
        "start a program confined" => {
            confine(&rules());
            start_a_program();
        }
        "work" => works::work(),
        "rules" => works::try_impossible_rules(),
        "threads" => works::confine_beside_a_thread(),
        "namespace" => packets::compare(),
        "open" => wait(),
        "hardened" => {
            seal::harden().unwrap();
            wait();
        }
        "abort" => {
            confine(&rules());
            std::process::abort();
        }
        "hurry" => works::hurry(),
        "hurry confined" => {
            confine(&rules());
            works::hurry();
        }
        "parent" => siblings::leave_a_child(),
        "tied" => {
            seal::die_with_parent(argument(PROCESS).unwrap()).unwrap();
            // In the order of a start: what confinement gives up must not untie the process.
            if roles::confinable() {
                confine(&rules());
            }
            wait();
        }
        "late" => say(&seal::die_with_parent(argument(PROCESS).unwrap()).unwrap_err().to_string()),
        other => panic!("no such role: {other}"),
    }
}

pub(crate) fn argument<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

pub(crate) fn folder() -> PathBuf {
    argument(FOLDER).unwrap()
}

#[expect(clippy::print_stdout, reason = "the test that started this child reads it")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}

pub(crate) fn given() -> OwnedFd {
    io::stdin().as_fd().try_clone_to_owned().unwrap()
}

pub(crate) fn rules() -> Rules {
    Rules::new(Device::Cpu)
}

pub(crate) fn confine(rules: &Rules) {
    seal::confine(rules).unwrap();
}

/// Says that it is there, and stays until its input ends.
fn wait() {
    say("here");
    io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

fn attempt() {
    let mut context = Context {
        connected: Some(given()),
        processes: argument(PROCESS).into_iter().collect(),
        name: Some("localhost".to_owned()),
        ..Context::default()
    };
    context.file = argument(FILE).unwrap_or(context.file);
    context.folder = argument(FOLDER).unwrap_or(context.folder);
    context.address_v4 = argument(V4).unwrap_or(context.address_v4);
    context.address_v6 = argument(V6).unwrap_or(context.address_v6);
    for attempt in escapes::try_all(&context) {
        say(&format!("{}, {}: {}", attempt.name, attempt.layer, attempt.outcome));
    }
}

fn start_a_program() {
    let started = Command::new("/bin/true").status();
    say(&started.map_or_else(|error| error.kind().to_string(), |status| status.to_string()));
}

/// The standard output of this process, for a child to hold.
pub(crate) fn output() -> OwnedFd {
    io::stdout().as_fd().try_clone_to_owned().unwrap()
}
