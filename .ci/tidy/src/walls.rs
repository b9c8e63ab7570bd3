//! Names that only some files may contain: what opens a socket, what is impure, what is unsafe.
//!
//! Most walls are dependency edges, and `crates` holds those. Left for this file are the powers that come with the
//! standard library or with a dependency that a crate needs for something else.

use crate::source::{Source, lines_with};
use crate::{Finding, Rule};

/// Whose business is to open connections; benches and evals are clients themselves, tidy and `plan` ask git, the
/// supervisor starts the program's own processes, and `seal` tries whether a confined process can.
const MAY_CONNECT: [&str; 7] = [
    "gateway/egress/",
    "gateway/seal/src/linux/attempts/",
    "gateway/server/src/command/plan/git.rs",
    "gateway/server/src/processes/child.rs",
    "benches/",
    "evals/",
    ".ci/tidy/",
];
/// What opens an outbound socket, asks a name server, or starts a program that may do either.
const CONNECTS: [&str; 11] = [
    "TcpStream::connect",
    "TcpStream::connect_timeout",
    "TcpSocket",
    "UdpSocket",
    "UnixDatagram",
    "lookup_host",
    "ToSocketAddrs",
    "to_socket_addrs",
    "hyper::client",
    "hyper_util::client",
    "process::Command",
];

/// The one command that asks a model hub, in a process that serves nothing.
const MAY_PULL: [&str; 2] = ["gateway/hub/", "gateway/server/src/command/models/"];
/// The hub's client.
const PULLS: [&str; 2] = ["hub", "hf_hub"];

/// Code whose result depends on its arguments alone.
const PURE: [&str; 4] =
    ["gateway/wire/src/", "gateway/policy/src/", "gateway/routing/src/", "engine/src/schedule/"];
/// What makes a result depend on something else: time, files, environment, other threads, chance.
const IMPURE: [&str; 10] = [
    "std::fs",
    "std::env",
    "std::net::TcpStream",
    "std::process",
    "std::thread",
    "Instant",
    "SystemTime",
    "tokio",
    "jiff",
    "rand::rng",
];

/// Where unsafe code may stand: the mapping of weight files, system calls without a safe form, and the calls into a GPU.
const MAY_BE_UNSAFE: [&str; 4] = [
    "engine/src/model/weights/map.rs",
    "gateway/egress/src/tcp_info/linux.rs",
    "gateway/seal/src/linux/sys.rs",
    "kernels/",
];
/// Where the one feature flag may be asked for.
const MAY_ASK_FOR_CUDA: [&str; 1] = ["kernels/"];

/// Checks one file against every wall.
pub fn check(source: &Source) -> Vec<Finding> {
    let code = source.production_code();
    let mut found = Vec::new();
    if !stands_in(&source.path, &MAY_CONNECT) {
        let why = "only `egress` opens connections and asks name servers";
        found.extend(named(source, &code, Rule::Socket, &CONNECTS, why));
    }
    // Elsewhere the word means the layout of a checkpoint; no other crate depends on the client.
    if source.path.starts_with("gateway/server/") && !stands_in(&source.path, &MAY_PULL) {
        let why = "only `portcullis models` asks a hub: a process that serves never does";
        found.extend(named(source, &code, Rule::Socket, &PULLS, why));
    }
    if stands_in(&source.path, &PURE) {
        let why = "this code is pure: let the caller pass the value in";
        found.extend(named(source, &code, Rule::Pure, &IMPURE, why));
    }
    if !stands_in(&source.path, &MAY_BE_UNSAFE) {
        let why = "unsafe code stands only in the files that `.ci/tidy/src/walls.rs` lists";
        found.extend(named(source, &source.code, Rule::Unsafe, &["unsafe", "unsafe_code"], why));
    }
    if !stands_in(&source.path, &MAY_ASK_FOR_CUDA) {
        let text = source.without_comments.replace(' ', "");
        let why = "the feature is asked for once, in `kernels`: call what it selects";
        found.extend(named(source, &text, Rule::Cuda, &["feature=\"cuda\""], why));
    }
    found
}

fn stands_in(path: &str, places: &[&str]) -> bool {
    places.iter().any(|place| path.starts_with(place))
}

fn named(source: &Source, code: &str, rule: Rule, names: &[&str], why: &str) -> Vec<Finding> {
    let lines = |name: &&str| {
        let message = format!("`{name}`: {why}");
        lines_with(code, name)
            .into_iter()
            .map(move |line| Finding::at_line(&source.path, line, rule, message.clone()))
            .collect::<Vec<_>>()
    };
    names.iter().flat_map(lines).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<Rule> {
        check(&Source::new(path, text)).into_iter().map(|finding| finding.rule).collect()
    }

    #[test]
    fn only_egress_and_the_clients_connect() {
        let text = "let s = TcpStream::connect(address).await;\n";
        assert_eq!(rules("gateway/server/src/x.rs", text), [Rule::Socket]);
        assert_eq!(
            rules("gateway/server/src/x.rs", "use hyper_util::client::legacy::Client;\n"),
            [Rule::Socket]
        );
        assert_eq!(rules("gateway/server/src/x.rs", "use std::process::Command;\n"), [Rule::Socket]);
        assert_eq!(rules("gateway/server/src/command/plan/git.rs", "use std::process::Command;\n"), []);
        assert_eq!(rules("gateway/egress/src/x.rs", text), []);
        assert_eq!(rules("gateway/server/tests/it/x.rs", text), []);
        assert_eq!(rules("gateway/server/src/x.rs", "let l = TcpListener::bind(address).await;\n"), []);
    }

    #[test]
    fn only_the_models_command_asks_a_hub() {
        let text = "let client = hub::Client::new(options)?;\n";
        assert_eq!(rules("gateway/server/src/app.rs", text), [Rule::Socket]);
        assert_eq!(rules("gateway/server/src/command/serve.rs", "use hub::Client;\n"), [Rule::Socket]);
        assert_eq!(rules("gateway/server/src/app.rs", "use hf_hub::Repo;\n"), [Rule::Socket]);
        assert_eq!(rules("gateway/server/src/command/models/pull.rs", text), []);
        assert_eq!(rules("gateway/hub/src/access.rs", "use hf_hub::Repo;\n"), []);
        assert_eq!(rules("gateway/server/src/app.rs", "// the hub\nlet github = 1;\n"), []);
    }

    #[test]
    fn pure_code_names_nothing_impure() {
        let text = "let now = Instant::now();\n";
        assert_eq!(rules("gateway/policy/src/x.rs", text), [Rule::Pure]);
        assert_eq!(rules("gateway/routing/src/x.rs", "use std::time::Instant;\n"), [Rule::Pure]);
        assert_eq!(rules("engine/src/schedule/x.rs", "use std::fs;\n"), [Rule::Pure]);
        assert_eq!(rules("engine/src/worker.rs", text), []);
        assert_eq!(rules("gateway/policy/src/x.rs", &format!("#[cfg(test)]\nmod tests {{\n{text}}}\n")), []);
    }

    #[test]
    fn unsafe_stands_only_where_it_is_listed() {
        let text = "let map = unsafe { Mmap::map(&file) };\n";
        assert_eq!(rules("engine/src/worker.rs", text), [Rule::Unsafe]);
        assert_eq!(
            rules("engine/src/worker.rs", "#![expect(unsafe_code, reason = \"x\")]\n"),
            [Rule::Unsafe]
        );
        assert_eq!(rules("engine/src/model/weights/map.rs", text), []);
        assert_eq!(rules("engine/src/worker.rs", "// unsafe in a comment\n"), []);
    }

    #[test]
    fn the_cuda_feature_is_asked_for_in_kernels_only() {
        let text = "#[cfg(feature = \"cuda\")]\nmod graph;\n";
        assert_eq!(rules("engine/src/worker.rs", text), [Rule::Cuda]);
        assert_eq!(rules("kernels/src/norm.rs", text), []);
        assert_eq!(rules("engine/src/worker.rs", "//! Without `feature = \"cuda\"`.\n"), []);
    }
}
