//! A model hub with the demo model as `org/demo`, which counts who asks for what.
//!
//! Every odd thing that a hub can do is played in the tests of the crate `hub`; here it is what a person meets.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};

use serde_json::{Value, json};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use crate::gateway::Home;

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// The files of the demo model that decide its answers, and one that does not.
const FILES: [&str; 6] = [
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// Something else than the hub's usual answer.
#[derive(Clone)]
pub(crate) enum Trick {
    /// Sends so many bytes of a file, and nothing more until the connection ends.
    Stall(&'static str, usize),
    /// Sends a file with its last byte changed.
    Alter(&'static str),
    /// Answers every question about files with a status and a header.
    Refuse(u16, &'static str, &'static str),
    /// Lists a file as so many bytes long.
    Claim(&'static str, u64),
}

#[derive(Default)]
struct Stage {
    files: BTreeMap<String, Vec<u8>>,
    trick: Option<Trick>,
    /// Heads of the requests, as they came.
    requests: Vec<String>,
}

/// The hub.
pub(crate) struct Hub {
    address: SocketAddr,
    stage: Arc<Mutex<Stage>>,
    /// Signalled when the hub goes away, for connections that stall.
    over: Arc<(Mutex<bool>, Condvar)>,
}

impl Hub {
    pub(crate) fn start() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../engine/models/demo");
        let read = |name: &str| (name.to_owned(), std::fs::read(folder.join(name)).unwrap());
        let files = FILES.map(read).into_iter().collect();
        let stage = Arc::new(Mutex::new(Stage { files, ..Stage::default() }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let over = Arc::<(Mutex<bool>, Condvar)>::default();
        let (hub, end) = (Arc::clone(&stage), Arc::clone(&over));
        std::thread::spawn(move || {
            for tcp in listener.incoming().map_while(Result::ok) {
                let (hub, end) = (Arc::clone(&hub), Arc::clone(&end));
                // Whoever hangs up early may.
                std::thread::spawn(move || drop(answer(&tcp, &hub, &end)));
            }
        });
        Self { address, stage, over }
    }

    pub(crate) fn play(&self, trick: impl Into<Option<Trick>>) {
        self.stage.lock().unwrap().trick = trick.into();
    }

    /// The heads of the requests since the last time.
    pub(crate) fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.stage.lock().unwrap().requests)
    }

    /// The variables that lead to this hub, without a token.
    pub(crate) fn variables<'a>(&self, home: &'a Home, address: &'a mut String) -> [(&'a str, &'a str); 2] {
        *address = format!("http://{}", self.address);
        [("HF_ENDPOINT", address), ("HF_HOME", home.path().to_str().unwrap())]
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        *self.over.0.lock().unwrap() = true;
        self.over.1.notify_all();
    }
}

fn answer(mut tcp: &TcpStream, hub: &Mutex<Stage>, over: &(Mutex<bool>, Condvar)) -> io::Result<()> {
    let mut head = String::new();
    let mut reader = BufReader::new(tcp);
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let (trick, files) = {
        let mut stage = hub.lock().unwrap();
        stage.requests.push(head.clone());
        (stage.trick.clone(), stage.files.clone())
    };
    if path == "/api/models/org/demo/revision/main?blobs=true" {
        let files: Vec<Value> =
            files.iter().map(|(name, bytes)| listed(name, bytes, trick.as_ref())).collect();
        let listing = json!({ "sha": COMMIT, "siblings": files }).to_string();
        return tcp.write_all(whole("200 OK", "", listing.as_bytes()).as_slice());
    }
    let name = path.strip_prefix(&format!("/org/demo/resolve/{COMMIT}/")).unwrap_or_default();
    let Some(bytes) = files.get(name) else { return tcp.write_all(&whole("404 Not Found", "", b"")) };
    match trick {
        Some(Trick::Refuse(status, header, value)) => {
            tcp.write_all(&whole(&format!("{status} No"), &format!("{header}: {value}\r\n"), b""))
        }
        Some(Trick::Alter(file)) if file == name => {
            let mut bytes = bytes.clone();
            *bytes.last_mut().unwrap() ^= 1;
            tcp.write_all(&whole("200 OK", "", &bytes))
        }
        Some(Trick::Stall(file, count)) if file == name => {
            let answer = whole("200 OK", "etag: \"one\"\r\n", bytes);
            tcp.write_all(&answer[..answer.len() - bytes.len() + count])?;
            let _over = over.1.wait_while(over.0.lock().unwrap(), |over| !*over);
            Ok(())
        }
        _ => tcp.write_all(&ranged(bytes, &head)),
    }
}

fn listed(name: &str, bytes: &[u8], trick: Option<&Trick>) -> Value {
    let size = match trick {
        Some(Trick::Claim(file, size)) if *file == name => *size,
        _ => bytes.len() as u64,
    };
    let sha256 = hex(&Sha256::digest(bytes));
    let mut git = Sha1::new_with_prefix(format!("blob {}\0", bytes.len()));
    git.update(bytes);
    let lfs = name.ends_with(".safetensors").then(|| json!({ "sha256": sha256, "size": size }));
    json!({ "rfilename": name, "size": size, "blobId": hex(&git.finalize()), "lfs": lfs })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// A file, or the rest of it.
fn ranged(bytes: &[u8], head: &str) -> Vec<u8> {
    let from = head.lines().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-'));
    match from.map(|from| from.parse::<usize>().unwrap()) {
        None => whole("200 OK", "etag: \"one\"\r\n", bytes),
        Some(from) => {
            let range = format!("content-range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len());
            whole("206 Partial Content", &format!("etag: \"one\"\r\n{range}"), &bytes[from..])
        }
    }
}

fn whole(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}
