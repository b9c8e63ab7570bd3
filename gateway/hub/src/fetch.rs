//! One file: whole and checked, or not there.

use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use crate::checksum::Hasher;
use crate::client::{About, Answer, Client, Range, header};
use crate::error::HubError;
use crate::part::{Part, bytes_there, hash_file};
use crate::snapshot::{RemoteFile, Snapshot};
use crate::tries::{Failure, Tries};

/// Bytes taken from a connection at a time.
const CHUNK_BYTES: usize = 256 << 10;

/// What happens during a download, for whoever shows it.
#[derive(Debug)]
pub enum Event<'a> {
    /// A file that is there already is being read; if it is the right one, it is not loaded again.
    Checking {
        /// Its name.
        name: &'a str,
    },
    /// A file begins, or goes on.
    Begin {
        /// Its name.
        name: &'a str,
        /// The bytes that are there already.
        from: u64,
        /// All its bytes.
        size: u64,
    },
    /// So many bytes more.
    Bytes(u64),
    /// What had come belongs to other bytes than those that are wanted, and the file begins anew.
    Restart,
    /// A try failed, and there will be another after `wait`.
    Again {
        /// Why it failed.
        error: &'a HubError,
        /// How long from now.
        wait: Duration,
    },
    /// The file is whole and is what the hub says.
    Done {
        /// Its name.
        name: &'a str,
    },
}

/// Who is told what happens.
pub type OnEvent<'a> = dyn FnMut(&Event<'_>) + 'a;

impl Client {
    /// Puts a file into `folder` under the name that it has in the repository, and returns its SHA-256.
    ///
    /// A file that is there with the right bytes stays. A cut download leaves `NAME.part`, and the next call goes on
    /// from there. `NAME` itself only ever appears whole and checked. Folders are created as needed.
    ///
    /// # Errors
    /// Returns [`HubError`] if the file did not come, is not what the hub says it is, or found no room; in the last
    /// two cases nothing is left of it.
    pub fn fetch(
        &self,
        snapshot: &Snapshot,
        file: &RemoteFile,
        folder: &Path,
        on_event: &mut OnEvent<'_>,
    ) -> Result<[u8; 32], HubError> {
        let target = folder.join(&file.name);
        let disk = |source| HubError::of_disk(&target, source);
        if let Some(parent) = target.parent() {
            fs::create_dir_all(parent).map_err(disk)?;
        }
        if let Some(sha256) = kept(&target, file, on_event)? {
            return Ok(sha256);
        }
        let part = Part::open(&target, file).map_err(disk)?;
        if part.is_anew() {
            on_event(&Event::Restart);
        }
        let mut download = Download::resume(self, snapshot, file, part)?;
        on_event(&Event::Begin { name: &file.name, from: download.part.len(), size: file.size });
        match download.run(on_event) {
            Ok(()) => {}
            Err(error @ (HubError::Full { .. } | HubError::Digest { .. })) => {
                // Half a file that nobody can complete only takes room.
                download.part.discard().map_err(disk)?;
                return Err(error);
            }
            Err(error) => return Err(error),
        }
        let sha256 = download.finish()?;
        on_event(&Event::Done { name: &file.name });
        Ok(sha256)
    }

    /// Returns how many bytes are still to be loaded into `folder`; what lies there counts as right.
    pub fn missing_bytes(files: &[RemoteFile], folder: &Path) -> u64 {
        let missing = |file: &RemoteFile| file.size.saturating_sub(bytes_there(&folder.join(&file.name)));
        files.iter().map(missing).fold(0, u64::saturating_add)
    }
}

/// The SHA-256 of a file that is there already, if it is the right one.
fn kept(target: &Path, file: &RemoteFile, on_event: &mut OnEvent<'_>) -> Result<Option<[u8; 32]>, HubError> {
    let has_size = fs::metadata(target).is_ok_and(|found| found.is_file() && found.len() == file.size);
    if !has_size {
        return Ok(None);
    }
    on_event(&Event::Checking { name: &file.name });
    let mut hasher = Hasher::new(file.checksum, file.size);
    hash_file(target, &mut hasher).map_err(|source| HubError::of_disk(target, source))?;
    let (sha256, found) = hasher.finish();
    Ok((found == file.checksum).then_some(sha256))
}

/// One file that is being loaded.
struct Download<'a> {
    client: &'a Client,
    snapshot: &'a Snapshot,
    file: &'a RemoteFile,
    part: Part,
    hasher: Hasher,
}

impl<'a> Download<'a> {
    /// Goes on behind what has come before.
    fn resume(
        client: &'a Client,
        snapshot: &'a Snapshot,
        file: &'a RemoteFile,
        part: Part,
    ) -> Result<Self, HubError> {
        let mut hasher = Hasher::new(file.checksum, file.size);
        part.hash(&mut hasher).map_err(|source| HubError::of_disk(part.path(), source))?;
        Ok(Self { client, snapshot, file, part, hasher })
    }

    /// Loads until all bytes are there.
    fn run(&mut self, on_event: &mut OnEvent<'_>) -> Result<(), HubError> {
        let mut tries = Tries::new(&self.client.pause);
        while self.part.len() < self.file.size {
            let before = self.part.len();
            if let Err(failure) = self.load(on_event) {
                if self.part.len() > before {
                    tries.progressed();
                }
                tries.again(failure, on_event)?;
            }
        }
        Ok(())
    }

    /// Asks for what is missing, once.
    fn load(&mut self, on_event: &mut OnEvent<'_>) -> Result<(), Failure> {
        let url = self.client.file_url(self.snapshot, &self.file.name)?;
        let about = About { reference: &self.snapshot.reference, file: Some(&self.file.name) };
        let range = Range { from: self.part.len(), etag: self.part.etag().map(str::to_owned) };
        let answer = self.client.get(&url, &range, &about)?;
        self.agrees(&answer)?;
        if !self.continues(&answer) {
            if range.from > 0 {
                on_event(&Event::Restart);
            }
            let etag = header(&answer.headers, "etag").filter(|etag| is_strong(etag)).map(str::to_owned);
            self.restart(etag)?;
            if answer.status != 200 {
                // A part that we did not ask for, or none at all: the next question is for the whole file.
                return Err(Failure::passing(self.cut(&answer.host, None)));
            }
        }
        self.receive(answer, on_event)
    }

    /// Checks that the file is still the one that was listed.
    fn agrees(&self, answer: &Answer) -> Result<(), HubError> {
        let contradiction = |listed: String, sent: String| {
            Err(HubError::Contradiction { file: self.file.name.clone(), listed, sent })
        };
        match (&answer.said.commit, answer.said.linked) {
            (Some(commit), _) if commit != self.snapshot.commit() => {
                contradiction(format!("commit {}", self.snapshot.commit()), format!("commit {commit}"))
            }
            (_, Some(checksum)) if checksum.is_another(&self.file.checksum) => {
                contradiction(self.file.checksum.to_string(), checksum.to_string())
            }
            _ => Ok(()),
        }
    }

    /// Whether the answer goes on exactly where the part ends, with the same version of the file.
    fn continues(&self, answer: &Answer) -> bool {
        let is_same = |etag: &str| self.part.etag().is_none_or(|ours| ours == etag);
        let range = header(&answer.headers, "content-range");
        let expected = format!("bytes {}-{}/{}", self.part.len(), self.file.size - 1, self.file.size);
        answer.status == 206
            && range == Some(expected.as_str())
            && header(&answer.headers, "etag").is_none_or(is_same)
    }

    fn restart(&mut self, etag: Option<String>) -> Result<(), HubError> {
        self.hasher = Hasher::new(self.file.checksum, self.file.size);
        self.part.restart(etag).map_err(|source| HubError::of_disk(self.part.path(), source))
    }

    /// Takes the bytes of an answer.
    fn receive(&mut self, answer: Answer, on_event: &mut OnEvent<'_>) -> Result<(), Failure> {
        let host = answer.host;
        let mut body = answer.body.into_with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            // Whatever breaks a connection, the next one may do better.
            let count =
                body.read(&mut buffer).map_err(|error| Failure::passing(self.cut(&host, Some(error))))?;
            let room = self.file.size - self.part.len();
            if count == 0 {
                return if room == 0 { Ok(()) } else { Err(Failure::passing(self.cut(&host, None))) };
            }
            if count as u64 > room {
                return Err(self.too_long().into());
            }
            let bytes = &buffer[..count];
            self.part.append(bytes).map_err(|source| HubError::of_disk(self.part.path(), source))?;
            self.hasher.update(bytes);
            on_event(&Event::Bytes(count as u64));
        }
    }

    /// Checks the whole and gives it its name.
    fn finish(mut self) -> Result<[u8; 32], HubError> {
        let hasher = std::mem::replace(&mut self.hasher, Hasher::new(self.file.checksum, self.file.size));
        let (sha256, found) = hasher.finish();
        if found != self.file.checksum {
            let path = self.part.path().to_owned();
            self.part.discard().map_err(|source| HubError::of_disk(&path, source))?;
            return Err(self.wrong(found.to_string()));
        }
        let path = self.part.path().to_owned();
        self.part.finish().map_err(|source| HubError::of_disk(&path, source))?;
        Ok(sha256)
    }

    fn cut(&self, host: &str, source: Option<io::Error>) -> HubError {
        let missing = self.file.size - self.part.len();
        HubError::Cut { host: host.to_owned(), file: self.file.name.clone(), missing, source }
    }

    fn too_long(&self) -> HubError {
        self.wrong(format!("more than the {} bytes that it has", self.file.size))
    }

    fn wrong(&self, received: String) -> HubError {
        let expected = self.file.checksum.to_string();
        HubError::Digest { file: self.file.name.clone(), expected, received }
    }
}

/// Whether a version tag promises equal bytes; a weak one (`W/…`) only promises a similar meaning.
fn is_strong(etag: &str) -> bool {
    etag.starts_with('"')
}
