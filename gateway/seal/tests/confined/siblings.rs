//! Processes beside each other: looking into one, and outliving one.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{self, Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::child::Role;
use crate::escapes::{came_to, connection};
use crate::roles::skip;

/// The user that owns nothing. Root could look into any process, so it steps down for this.
const NOBODY: u32 = 65534;
/// How long a process may take to die, before the test says that it lives.
const DEATH_WAIT: Duration = Duration::from_secs(10);

pub(crate) fn a_hardened_process_is_closed_to_its_siblings() {
    let names = ["open a process's memory", "list a process's descriptors", "read a process's memory"];
    for (role, outcome) in [("open", "escaped"), ("hardened", "blocked")] {
        let Ok(mut child) =
            as_nobody(Role::new(role)).with(|command| _ = command.stdin(Stdio::piped())).start()
        else {
            return skip("this program cannot be started as another user");
        };
        heard(&mut child);
        let (_ours, theirs) = connection();
        let said = as_nobody(Role::new("free")).given(theirs).process(child.id()).say();
        drop(child.stdin.take());
        child.wait().unwrap();
        // Where a system module forbids looking into any process but a child, there is no difference to see.
        if role == "open" && !names.iter().all(|name| came_to(&said, name, "escaped")) {
            return skip("this system closes every process to its siblings");
        }
        for name in names {
            assert!(came_to(&said, name, outcome), "{role}: {said}");
        }
    }
}

fn as_nobody(role: Role) -> Role {
    let root = rustix::process::geteuid().is_root();
    role.with(|command| {
        if root {
            command.uid(NOBODY).gid(NOBODY);
        }
    })
}

fn heard(child: &mut Child) {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "here\n");
}

pub(crate) fn a_child_dies_with_its_parent() {
    let mut parent = Role::new("parent").with(|command| _ = command.stdin(Stdio::piped())).start().unwrap();
    let (mut said, kept) = (parent.stdout.take().unwrap(), parent.stdin.take());
    assert!(parent.wait().unwrap().success());
    // The grandchild holds the other end, and reads an input that stays open.
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(said.read_to_end(&mut Vec::new()).map(|_| ())));
    ended.recv_timeout(DEATH_WAIT).expect("the grandchild lives").unwrap();
    drop(kept);
}

/// The part of the parent: it starts a child that is tied to it, hears from it, and ends.
pub(crate) fn leave_a_child() {
    let child = Role::new("tied").process(process::id()).with(|command| _ = command.stdin(Stdio::inherit()));
    // Its own pipe tells that it is tied; the parent's output, which it holds as its errors, tells when it is gone.
    let output = crate::child::output();
    let mut child = child.with(|command| _ = command.stderr(output)).start().unwrap();
    heard(&mut child);
}

pub(crate) fn a_child_whose_parent_is_gone_is_told_so() {
    assert_eq!(Role::new("late").process(1).say(), "the parent process has ended\n");
}
