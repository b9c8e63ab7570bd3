//! A network of the test's own, in which the program meets any address, any name server and any proxy.
//!
//! [`own`] runs its test once more, alone in a process whose network and mounts are its own. Every address there is,
//! of both families, leads to that process itself. So an origin can be at a public address, and a dial that should not
//! have happened arrives, whatever its address, and is counted. Names are what [`names`] says: `/etc/resolv.conf` of
//! that network names no other server.
//!
//! Where no such network can be made (only root on Linux may, with the programs `unshare`, `ip` and `mount`), the test
//! says so and ends; the same rules are then held by the tests of `egress` alone, which `docs/egress-tests.md` names too.
//!
//! | module | about |
//! |---|---|
//! | `names`, `origin`, `corp` | the stage: a name server, origins, a company's proxy |
//! | `dialling` | which addresses the gateway's broker connects to |
//! | `answers` | what origins say that is not an ordinary answer |
//! | `proxied` | providers behind a company's proxy |
//! | `tunnels` | the proxy for agents' tools |
//! | `chaos` | all of it at once |

use std::any::type_name;
use std::process::Command;

use tokio::runtime::Builder;

mod answers;
mod chaos;
mod corp;
mod dialling;
mod names;
mod origin;
mod proxied;
mod tunnels;

/// Set for the process that is inside.
const INSIDE: &str = "PORTCULLIS_TEST_NETWORK";

/// The exit code of [`BEGIN`] if there is no such network here.
const NOT_MADE: i32 = 77;

/// Makes loopback all of the network there is, and `$0` its configuration of names; then begins the test.
const BEGIN: &str = "ip link set lo up && ip route add local default dev lo && ip -6 route add local default dev lo \
                     && mount --bind \"$0\" /etc/resolv.conf || exit 77; exec \"$@\"";

/// Runs a test in a network of its own.
///
/// The test is found again by the name of its function, so it has to be a closure in that function.
#[expect(clippy::disallowed_methods, reason = "the process inside is told so by its environment")]
pub(crate) fn own<T: AsyncFnOnce()>(test: T) {
    if std::env::var_os(INSIDE).is_some() {
        return Builder::new_current_thread().enable_all().build().unwrap().block_on(test());
    }
    let name = type_name::<T>();
    let name = name.split_once("::").and_then(|(_, name)| name.split("::{{").next()).unwrap();
    let resolv = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(resolv.path(), format!("nameserver {}\n", names::ADDRESS)).unwrap();
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--", "/bin/sh", "-c", BEGIN]).arg(resolv.path());
    command.arg(std::env::current_exe().unwrap());
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]).env(INSIDE, "true");
    let Ok(output) = command.output() else { return skip("there is no `unshare`") };
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    let was_made = output.status.code() != Some(NOT_MADE) && !said.contains("unshare failed");
    if !was_made {
        return skip(said.trim());
    }
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{name} is not the name of the test\n{said}");
    told(&said);
}

#[expect(clippy::print_stdout, reason = "what a test inside has to say is said by the one outside")]
fn told(what: &str) {
    println!("{what}");
}

#[expect(clippy::print_stderr, reason = "a test that tested nothing says so")]
fn skip(why: &str) {
    eprintln!("not tested: no network of our own can be made here: {why}");
}
