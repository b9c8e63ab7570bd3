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

/// An address of this machine with a port that the system chooses.
pub(crate) const ANY_PORT: &str = "127.0.0.1:0";

/// What a gateway says when it has begun to serve.
const SERVING: &str = "serving; point an agent's base URL";

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
        let mut command = self.command(&["serve", "--listen", ANY_PORT]);
        command.args(more);
        Gateway::start(command).await
    }

    /// Starts a gateway with variables of the environment, too.
    pub(crate) async fn serve_in(&self, variables: &[(&str, &str)], more: &[&str]) -> Gateway {
        let mut command = self.command(&["serve", "--listen", ANY_PORT]);
        command.args(more).envs(variables.iter().copied());
        Gateway::start(command).await
    }

    /// Starts a gateway that can write no file longer than `blocks` of 512 or 1024 bytes, as the shell counts.
    pub(crate) async fn serve_on_a_small_disk(&self, blocks: u32) -> Gateway {
        let mut command = on_a_small_disk(blocks);
        command.args(["serve", "--listen", ANY_PORT]);
        command.current_dir(self.path()).env_clear().stdin(Stdio::null());
        Gateway::start(command).await
    }

    /// The records of the audit trail, oldest first.
    pub(crate) fn records(&self) -> Vec<Value> {
        Self::records_in(&self.audit_dir())
    }

    fn records_in(folder: &Path) -> Vec<Value> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
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

    /// The records of one type in the broker's trail.
    pub(crate) fn witnessed(&self, kind: &str) -> Vec<Value> {
        let records = Self::records_in(&self.path().join("data/witness")).into_iter();
        records.filter(|record| record["type"] == kind).collect()
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

/// A port at which nobody listens.
pub(crate) fn closed_port() -> u16 {
    TcpListener::bind(ANY_PORT).unwrap().local_addr().unwrap().port()
}

/// What a process says on its error output, while it runs and after.
pub(crate) struct Log {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Log {
    /// Reads along until the process closes its output.
    pub(crate) fn of(process: &mut Child) -> Self {
        let stderr = process.stderr.take().unwrap();
        let text = Arc::<Mutex<String>>::default();
        let writer = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut text = writer.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        Self { text, reader: Some(reader) }
    }

    /// What was said until now.
    pub(crate) fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    /// All of it, once the process has ended.
    fn whole(&mut self) -> String {
        self.reader.take().into_iter().for_each(|reader| reader.join().unwrap());
        self.text()
    }

    /// The address that the line with `words` gives as `name`, once it was said.
    pub(crate) fn address(&self, words: &str, name: &str) -> Option<SocketAddr> {
        let text = self.text();
        let line = text.lines().find(|line| line.contains(words))?;
        let address = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
        Some(address.parse().unwrap())
    }
}

/// A running gateway. It ends with the test; if the test fails, its log is shown.
pub(crate) struct Gateway {
    process: Child,
    address: SocketAddr,
    log: Log,
    client: Client,
}

impl Gateway {
    /// Waits until the process is ready.
    async fn start(mut command: Command) -> Self {
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Log::of(&mut process);
        let address = eventually("a gateway that listens", async || {
            let ended = process.try_wait().unwrap();
            assert!(ended.is_none(), "the gateway ended before it was ready\n{}", log.text());
            log.address(SERVING, "address")
        })
        .await;
        let gateway = Self { process, address, log, client: Client::new(address) };
        eventually("a gateway that is ready", async || {
            gateway.client.try_get("/readyz").await.filter(|reply| reply.status == 200)
        })
        .await;
        gateway
    }

    /// The client that everyone on this machine is.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens for scrapers (`metrics`) or operators (`admin`).
    pub(crate) fn address_of(&self, name: &str) -> SocketAddr {
        self.log.address(SERVING, name).unwrap()
    }

    /// Waits until its log contains `text`.
    pub(crate) async fn logs(&self, text: &str) {
        eventually("a line in the log", async || self.log.text().contains(text).then_some(())).await;
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
        self.log.whole()
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
            let log = self.log.whole();
            #[expect(clippy::print_stderr, reason = "the runner shows it with the failed test")]
            {
                eprintln!("--- log of the gateway at {} ---\n{log}", self.address);
            }
        }
    }
}
