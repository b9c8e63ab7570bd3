//! A hub with one repository, and the store that it keeps large files in, each on a port of its own.
//!
//! It behaves as a hub does; a test's script sees every request first and may answer it otherwise.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hub::{Access, Client, HubError, Options, Snapshot, Token};
use serde_json::json;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const REPOSITORY: &str = "org/tiny";

/// A file of the repository; one in the store is found by its SHA-256, the others by git's name.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_large: bool,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// `hub` or `store`.
    pub(crate) to: &'static str,
    pub(crate) path: String,
    head: String,
}

/// An answer: its length is always declared, and the connection closed after it.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
    /// How much of the body is sent before the connection breaks.
    cut_after: usize,
}

type Script = Box<dyn FnMut(&Request) -> Option<Answer> + Send>;

struct Stage {
    files: Vec<Stored>,
    script: Script,
    requests: Vec<Request>,
    pauses: Vec<Duration>,
    hub: SocketAddr,
    store: SocketAddr,
}

/// The hub.
pub(crate) struct Hub(Arc<Mutex<Stage>>);

pub(crate) fn small(name: &str, bytes: &[u8]) -> Stored {
    Stored { name: name.to_owned(), bytes: bytes.to_vec(), is_large: false }
}

pub(crate) fn large(name: &str, bytes: &[u8]) -> Stored {
    Stored { is_large: true, ..small(name, bytes) }
}

/// Bytes that nothing repeats.
pub(crate) fn noise(count: usize) -> Vec<u8> {
    (0..count as u64).map(|index| (index.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40) as u8).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

impl Stored {
    pub(crate) fn sha256(&self) -> String {
        hex(&Sha256::digest(&self.bytes))
    }

    fn git(&self) -> String {
        let mut hash = Sha1::new_with_prefix(format!("blob {}\0", self.bytes.len()));
        hash.update(&self.bytes);
        hex(&hash.finalize())
    }

    fn listed(&self) -> serde_json::Value {
        if self.is_large {
            let lfs = json!({ "sha256": self.sha256(), "size": self.bytes.len(), "pointerSize": 135 });
            json!({ "rfilename": self.name, "size": self.bytes.len(), "blobId": "0".repeat(40), "lfs": lfs })
        } else {
            json!({ "rfilename": self.name, "size": self.bytes.len(), "blobId": self.git() })
        }
    }

    /// As a server answers that knows ranges.
    pub(crate) fn answer(&self, request: &Request) -> Answer {
        let etag = if self.is_large { format!("\"store-{}\"", &self.sha256()[..8]) } else { self.git() };
        let etag = format!("\"{}\"", etag.trim_matches('"'));
        let from = request.header("range").map(|range| {
            range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse::<usize>().unwrap()
        });
        let is_same = request.header("if-range").is_none_or(|wanted| wanted == etag);
        let len = self.bytes.len();
        match from {
            Some(from) if is_same && from < len => Answer::new(206, &self.bytes[from..])
                .with("content-range", &format!("bytes {from}-{}/{len}", len - 1))
                .with("etag", &etag),
            Some(from) if is_same && from >= len => {
                Answer::new(416, b"").with("content-range", &format!("bytes */{len}"))
            }
            _ => Answer::new(200, &self.bytes).with("etag", &etag),
        }
    }
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn read(tcp: &TcpStream, to: &'static str) -> io::Result<Self> {
        let mut head = String::new();
        let mut reader = BufReader::new(tcp);
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let path = head.split(' ').nth(1).unwrap().to_owned();
        Ok(Self { to, path, head })
    }
}

impl Answer {
    pub(crate) fn new(status: u16, body: &[u8]) -> Self {
        Self { status, headers: String::new(), body: body.to_vec(), cut_after: usize::MAX }
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        write!(self.headers, "{name}: {value}\r\n").unwrap();
        self
    }

    /// Breaks the connection after so many bytes of the body.
    pub(crate) fn cut_after(mut self, count: usize) -> Self {
        self.cut_after = count;
        self
    }

    fn write(&self, mut tcp: &TcpStream) -> io::Result<()> {
        let Self { status, headers, body, cut_after } = self;
        let head = format!(
            "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        );
        tcp.write_all(head.as_bytes())?;
        tcp.write_all(&body[..body.len().min(*cut_after)])?;
        tcp.flush()
    }
}

impl Hub {
    pub(crate) fn start(files: impl IntoIterator<Item = Stored>) -> Self {
        let [hub, store] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let stage = Arc::new(Mutex::new(Stage {
            files: files.into_iter().collect(),
            script: Box::new(|_| None),
            requests: Vec::new(),
            pauses: Vec::new(),
            hub: hub.local_addr().unwrap(),
            store: store.local_addr().unwrap(),
        }));
        for (name, listener) in [("hub", hub), ("store", store)] {
            let stage = Arc::clone(&stage);
            std::thread::spawn(move || {
                for tcp in listener.incoming().map_while(Result::ok) {
                    let Ok(request) = Request::read(&tcp, name) else { continue };
                    let answer = stage.lock().unwrap().answer(&request);
                    // A client that has seen enough hangs up, and may.
                    let _ = answer.write(&tcp);
                }
            });
        }
        Self(stage)
    }

    /// Lets `script` see each request first; what it leaves is answered as a hub does.
    pub(crate) fn script(&self, script: impl FnMut(&Request) -> Option<Answer> + Send + 'static) {
        self.0.lock().unwrap().script = Box::new(script);
    }

    /// Lets the hub behave again.
    pub(crate) fn behave(&self) {
        self.script(|_| None);
    }

    /// Puts another file in the place of the one with its name.
    pub(crate) fn replace(&self, file: Stored) {
        let mut stage = self.0.lock().unwrap();
        let old = stage.files.iter_mut().find(|old| old.name == file.name).unwrap();
        *old = file;
    }

    pub(crate) fn address(&self) -> String {
        format!("http://{}", self.0.lock().unwrap().hub)
    }

    /// The requests since the last time.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.0.lock().unwrap().requests)
    }

    /// The seconds that clients waited between tries, since the last time.
    pub(crate) fn pauses(&self) -> Vec<u64> {
        let pauses = std::mem::take(&mut self.0.lock().unwrap().pauses);
        pauses.iter().map(Duration::as_secs).collect()
    }

    /// A client without a token.
    pub(crate) fn client(&self) -> Client {
        self.client_with(None)
    }

    pub(crate) fn client_with(&self, token: Option<&str>) -> Client {
        let token = token.map(|token| Token::new(token).unwrap());
        let stage = Arc::clone(&self.0);
        Client::new(Options {
            access: Access::new(&self.address(), token).unwrap(),
            proxy: None,
            ca_file: None,
            pause: Arc::new(move |wait| stage.lock().unwrap().pauses.push(wait)),
        })
        .unwrap()
    }

    /// Loads one file of the repository into `folder`.
    pub(crate) fn fetch(&self, name: &str, folder: &Path) -> Result<String, HubError> {
        fetch(&self.client(), name, folder)
    }
}

/// What a person reads of an error.
pub(crate) fn words(error: &HubError) -> String {
    format!("{error}\n{}", error.advice().unwrap_or_default())
}

/// Loads one file of the repository, as the hub lists it now, and returns its SHA-256.
pub(crate) fn fetch(client: &Client, name: &str, folder: &Path) -> Result<String, HubError> {
    let snapshot = snapshot(client)?;
    let file = client.describe(&snapshot, name, &mut |_| ())?;
    client.fetch(&snapshot, &file, folder, &mut |_| ()).map(|sha256| hex(&sha256))
}

pub(crate) fn snapshot(client: &Client) -> Result<Snapshot, HubError> {
    client.snapshot(&REPOSITORY.parse().unwrap(), &mut |_| ())
}

impl Stage {
    fn answer(&mut self, request: &Request) -> Answer {
        self.requests.push(request.clone());
        if let Some(answer) = (self.script)(request) {
            return answer;
        }
        match request.to {
            "hub" => self.answer_as_hub(request),
            _ => self.answer_as_store(request),
        }
    }

    fn answer_as_hub(&self, request: &Request) -> Answer {
        if request.path == format!("/api/models/{REPOSITORY}/revision/main?blobs=true") {
            let files: Vec<_> = self.files.iter().map(Stored::listed).collect();
            let listing = json!({ "id": REPOSITORY, "sha": COMMIT, "gated": false, "siblings": files });
            return Answer::new(200, listing.to_string().as_bytes());
        }
        let name = request.path.strip_prefix(&format!("/{REPOSITORY}/resolve/{COMMIT}/"));
        let Some(file) = name.and_then(|name| self.files.iter().find(|file| file.name == name)) else {
            return Answer::new(404, b"").with("x-error-code", "EntryNotFound");
        };
        let answer = if file.is_large {
            Answer::new(302, b"")
                .with("location", &format!("http://{}/blobs/{}?signature=secret", self.store, file.sha256()))
                .with("x-linked-etag", &format!("\"{}\"", file.sha256()))
                .with("x-linked-size", &file.bytes.len().to_string())
        } else {
            file.answer(request)
        };
        answer.with("x-repo-commit", COMMIT)
    }

    fn answer_as_store(&self, request: &Request) -> Answer {
        let name = request.path.split('?').next().unwrap();
        let file = self.files.iter().find(|file| name == format!("/blobs/{}", file.sha256()));
        file.map_or_else(|| Answer::new(404, b""), |file| file.answer(request))
    }
}
