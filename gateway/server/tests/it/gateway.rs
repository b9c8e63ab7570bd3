//! A running gateway, and the folder that it runs in.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::patience::eventually;
use crate::routes::Routes;

const BINARY: &str = env!("CARGO_BIN_EXE_portcullis");

/// How often another free port is tried: between finding one and listening there, somebody else may take it.
const PORT_TRIES: usize = 5;

/// A folder with a policy, secrets and data, which outlives the processes that run in it.
pub(crate) struct Home(TempDir);

impl Home {
    pub(crate) fn new(routes: &Routes) -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        home.write("routes.yaml", &routes.text());
        home
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn audit_dir(&self) -> PathBuf {
        self.path().join("data/audit")
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    /// The binary with the test's arguments, and nothing of the environment that the tests run in.
    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(arguments).current_dir(self.path()).env_clear().stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Starts a command with variables of the environment, and hands it over with its output in pipes.
    pub(crate) fn spawn(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Child {
        let mut command = self.command(arguments);
        command.envs(variables.iter().copied());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs a command that can write no file longer than `blocks`, as [`Home::serve_on_a_small_disk`] counts them.
    pub(crate) fn spawn_on_a_small_disk(
        &self,
        blocks: u32,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Child {
        let mut command = on_a_small_disk(blocks);
        command.args(arguments).current_dir(self.path()).env_clear().stdin(Stdio::null());
        command.envs(variables.iter().copied());
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Starts a gateway and waits until it is ready.
    pub(crate) async fn serve(&self) -> Gateway {
        self.serve_with(&[]).await
    }

    /// Starts a gateway with further arguments.
    pub(crate) async fn serve_with(&self, more: &[&str]) -> Gateway {
        self.start(|listen| {
            let mut command = self.command(&["serve", "--listen", listen]);
            command.args(more);
            command
        })
        .await
    }

    /// Starts a gateway that can write no file longer than `blocks` of 512 or 1024 bytes, as the shell counts.
    pub(crate) async fn serve_on_a_small_disk(&self, blocks: u32) -> Gateway {
        self.start(|listen| {
            let mut command = on_a_small_disk(blocks);
            command.args(["serve", "--listen", listen]);
            command.current_dir(self.path()).env_clear().stdin(Stdio::null());
            command
        })
        .await
    }

    async fn start(&self, command: impl Fn(&str) -> Command) -> Gateway {
        for _ in 0..PORT_TRIES {
            let address = free_address();
            if let Some(gateway) = Gateway::start(command(&address.to_string()), address).await {
                return gateway;
            }
        }
        panic!("no free port was still free when the gateway came to it");
    }

    /// The records of the audit trail, oldest first.
    pub(crate) fn records(&self) -> Vec<Value> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.audit_dir())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "jsonl"))
            .collect();
        files.sort();
        let texts: Vec<String> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
        let lines = texts.iter().flat_map(|text| text.split_inclusive('\n'));
        // A line without its end is still being written.
        lines.filter(|line| line.ends_with('\n')).map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The records of one type.
    pub(crate) fn records_of(&self, kind: &str) -> Vec<Value> {
        self.records().into_iter().filter(|record| record["type"] == kind).collect()
    }

    /// The one result in the trail, once it is there: a call that was dropped is recorded without anyone waiting.
    pub(crate) async fn result(&self) -> Value {
        let mut results = eventually("a result in the trail", async || {
            Some(self.records_of("llm.result")).filter(|results| !results.is_empty())
        })
        .await;
        assert_eq!(results.len(), 1, "{results:#?}");
        results.remove(0)
    }
}

/// The binary, still without arguments, for which long files do not fit on the disk.
fn on_a_small_disk(blocks: u32) -> Command {
    // With the signal ignored, a write beyond the limit fails as one on a full disk does.
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    let mut command = Command::new("/bin/sh");
    command.args(["-c", &script, BINARY]);
    command
}

fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A port at which nobody listens.
pub(crate) fn closed_port() -> u16 {
    free_address().port()
}

/// A running gateway. It ends with the test; if the test fails, its log is shown.
pub(crate) struct Gateway {
    process: Child,
    address: SocketAddr,
    log: Arc<Mutex<String>>,
    log_reader: Option<JoinHandle<()>>,
    client: Client,
}

impl Gateway {
    /// Waits until the process is ready. Nothing if its port was taken.
    async fn start(mut command: Command, address: SocketAddr) -> Option<Self> {
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = process.stderr.take().unwrap();
        let log = Arc::<Mutex<String>>::default();
        let writer = Arc::clone(&log);
        let log_reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut log = writer.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let client = Client::new(address);
        let mut gateway = Self { process, address, log, log_reader: Some(log_reader), client };
        let is_up = eventually("a gateway that is ready", async || {
            if gateway.process.try_wait().unwrap().is_some() {
                return Some(false);
            }
            gateway.client.try_get("/readyz").await.filter(|reply| reply.status == 200).map(|_| true)
        })
        .await;
        if is_up {
            return Some(gateway);
        }
        let log = gateway.whole_log();
        assert!(log.contains("cannot listen on"), "the gateway ended before it was ready\n{log}");
        None
    }

    /// The client that everyone on this machine is.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until its log contains `text`.
    pub(crate) async fn logs(&self, text: &str) {
        eventually("a line in the log", async || self.log.lock().unwrap().contains(text).then_some(())).await;
    }

    /// Its log, once it has ended.
    fn whole_log(&mut self) -> String {
        self.log_reader.take().into_iter().for_each(|reader| reader.join().unwrap());
        self.log.lock().unwrap().clone()
    }

    /// The sum of a metric over its series, or over those whose labels contain `label`.
    pub(crate) async fn metric(&self, name: &str, label: &str) -> u64 {
        let text = self.client.get("/metrics").await.text();
        let series = text.lines().filter_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.strip_prefix(name)?.strip_prefix('{')?, value.parse::<u64>().unwrap()))
        });
        let series: Vec<(&str, u64)> = series.collect();
        assert!(!series.is_empty(), "there is no metric {name} in\n{text}");
        series.iter().filter(|(labels, _)| labels.contains(label)).map(|(_, value)| value).sum()
    }

    /// Waits until the engine has neither work nor memory in use.
    pub(crate) async fn idle(&self) {
        eventually("an engine without work", async || {
            let mut busy = 0;
            for name in ["kv_blocks_used", "running_sequences", "waiting_sequences"] {
                busy += self.metric(&format!("portcullis_engine_{name}"), "").await;
            }
            (busy == 0).then_some(())
        })
        .await;
    }

    /// Ends all of it as a power failure would.
    pub(crate) fn kill(mut self) {
        self.end_at_once();
        self.process.wait().unwrap();
    }

    /// Kills the process that starts the others first, or it would start them again.
    fn end_at_once(&mut self) {
        let children: Vec<u32> = ["gateway", "broker"].iter().filter_map(|role| self.child(role)).collect();
        // It may have ended by itself.
        let _ = self.process.kill();
        for child in children {
            signal_number("KILL", child);
        }
    }

    /// The number of one of its processes, while it runs.
    pub(crate) fn child(&self, role: &str) -> Option<u32> {
        let title = format!("portcullis: {role}");
        let parent = format!("PPid:\t{}", self.process.id());
        let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let is_it = |folder: &Path| {
            let line = std::fs::read(folder.join("cmdline")).unwrap_or_default();
            let status = std::fs::read_to_string(folder.join("status")).unwrap_or_default();
            line.starts_with(title.as_bytes()) && status.lines().any(|line| line == parent)
        };
        let mut found = processes.map(|entry| entry.path()).filter(|folder| is_it(folder));
        found.next().and_then(|folder| folder.file_name()?.to_str()?.parse().ok())
    }

    /// Waits until one of its processes runs, another one than `before`.
    pub(crate) async fn next_child(&self, role: &str, before: u32) -> u32 {
        eventually("another process", async || self.child(role).filter(|child| *child != before)).await
    }

    /// Asks it to end, as an orchestrator does.
    pub(crate) fn terminate(&self) {
        send_signal("TERM", &self.process);
    }

    /// Asks it to make room for the program on disk.
    pub(crate) fn replace(&self) {
        send_signal("USR2", &self.process);
    }

    /// Asks it to read its files again, as an operator does.
    pub(crate) fn hang_up(&self) {
        send_signal("HUP", &self.process);
    }

    /// Waits for its end, which has to be in order, and returns its log.
    pub(crate) async fn ended(mut self) -> String {
        let status = eventually("the end of the gateway", async || self.process.try_wait().unwrap()).await;
        assert_eq!(status.code(), Some(0), "how the gateway ended");
        self.whole_log()
    }

    /// Ends it in order and returns its log.
    pub(crate) async fn stop(self) -> String {
        self.terminate();
        self.ended().await
    }
}

/// Sends a signal by its name.
pub(crate) fn send_signal(name: &str, process: &Child) {
    signal_number(name, process.id());
}

/// Sends a signal to a process by its number; one that has just ended gets none.
pub(crate) fn signal_number(name: &str, process: u32) {
    let script = format!("kill -{name} {process} 2>/dev/null || true");
    assert!(Command::new("/bin/sh").args(["-c", &script]).status().unwrap().success());
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.end_at_once();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = self.whole_log();
            #[expect(clippy::print_stderr, reason = "the runner shows it with the failed test")]
            {
                eprintln!("--- log of the gateway at {} ---\n{log}", self.address);
            }
        }
    }
}
