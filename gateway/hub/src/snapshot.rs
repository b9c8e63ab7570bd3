//! What a repository holds at one commit.

use std::path::{Component, Path};

use serde::Deserialize;
use url::Url;

use crate::checksum::Checksum;
use crate::client::{About, Client, Range, header};
use crate::error::{Absent, HubError, Missing};
use crate::fetch::OnEvent;
use crate::reference::Reference;
use crate::tries::{Failure, Tries};

/// Longest description of a repository, in bytes; one with ten thousand files has a tenth of it.
const LISTING_BYTES_MAX: u64 = 32 << 20;
/// Longest name of a file, in bytes, its folders included.
const NAME_BYTES_MAX: usize = 1024;

/// The files of a repository at one commit.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(crate) reference: Reference,
    commit: String,
    listed: Vec<Listed>,
}

/// A file as the listing has it.
#[derive(Debug, Clone)]
struct Listed {
    name: String,
    size: Option<u64>,
    checksum: Option<Checksum>,
}

/// A file that can be loaded and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteFile {
    pub(crate) name: String,
    pub(crate) size: u64,
    pub(crate) checksum: Checksum,
}

#[derive(Deserialize)]
struct Info {
    sha: String,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Snapshot {
    /// Returns the commit that the revision means now: 40 hexadecimal digits.
    pub fn commit(&self) -> &str {
        &self.commit
    }

    /// Returns the names of all files, with `/` between folders. Each stays within the folder that it is put in.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.listed.iter().map(|file| file.name.as_str())
    }
}

impl RemoteFile {
    /// Returns the file's name in the repository.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the file's length in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

impl Client {
    /// Asks which commit a revision is, and which files it has.
    ///
    /// # Errors
    /// Returns [`HubError`] if the hub has no such repository, does not let us see it, or cannot be reached; and
    /// if it lists a file that would lie outside the folder.
    pub fn snapshot(&self, reference: &Reference, on_event: &mut OnEvent<'_>) -> Result<Snapshot, HubError> {
        let path = reference.at(reference.revision()).api_url();
        let url = address(&format!("{}/api/{path}?blobs=true", self.access.base()))?;
        let mut tries = Tries::new(&self.pause);
        loop {
            match self.listing(&url, reference) {
                Ok(snapshot) => return Ok(snapshot),
                Err(failure) => tries.again(failure, on_event)?,
            }
        }
    }

    fn listing(&self, url: &Url, reference: &Reference) -> Result<Snapshot, Failure> {
        let about = About { reference, file: None };
        let answer = self.get(url, &Range::default(), &about)?;
        let damaged = |detail: String| HubError::Listing { url: url.to_string(), detail };
        let host = answer.host;
        let body = answer.body.into_with_config().limit(LISTING_BYTES_MAX).read_to_vec();
        let body = body.map_err(|source| match source {
            ureq::Error::BodyExceedsLimit(_) => Failure::Final(damaged("it is too long".to_owned())),
            source => Failure::passing(HubError::Transport { host, source: Box::new(source) }),
        })?;
        let info: Info = serde_json::from_slice(&body).map_err(|error| damaged(error.to_string()))?;
        let is_commit = info.sha.len() == 40 && Checksum::from_hex(&info.sha).is_some();
        if !is_commit {
            return Err(damaged("its `sha` is not a commit".to_owned()).into());
        }
        let listed = info.siblings.into_iter().map(Listed::read).collect::<Result<_, _>>()?;
        Ok(Snapshot { reference: reference.clone(), commit: info.sha, listed })
    }

    /// Finds out a file's size and checksum: from the listing, or, where a mirror leaves them out, by asking for
    /// the file.
    ///
    /// # Errors
    /// Returns [`HubError`] if the repository has no such file, or the hub does not say what its bytes are.
    pub fn describe(
        &self,
        snapshot: &Snapshot,
        name: &str,
        on_event: &mut OnEvent<'_>,
    ) -> Result<RemoteFile, HubError> {
        let listed = snapshot.listed.iter().find(|file| file.name == name).ok_or_else(|| Absent {
            hub: self.access.base().to_owned(),
            repository: snapshot.reference.repository(),
            what: Missing::File(name.to_owned()),
        })?;
        if let (Some(size), Some(checksum)) = (listed.size, listed.checksum) {
            return Ok(RemoteFile { name: name.to_owned(), size, checksum });
        }
        let url = self.file_url(snapshot, name)?;
        let about = About { reference: &snapshot.reference, file: Some(name) };
        let mut tries = Tries::new(&self.pause);
        let answer = loop {
            // The body is left unread, which closes the connection; a mirror's HEAD is less to be relied on.
            match self.get(&url, &Range::default(), &about) {
                Ok(answer) => break answer,
                Err(failure) => tries.again(failure, on_event)?,
            }
        };
        let length = header(&answer.headers, "content-length").and_then(|text| text.parse().ok());
        let said = &answer.said;
        match (said.linked_size.or(length), said.linked.or(said.etag)) {
            (Some(size), Some(checksum)) => Ok(RemoteFile { name: name.to_owned(), size, checksum }),
            _ => Err(HubError::Unverifiable { file: name.to_owned() }),
        }
    }

    /// Where a file of the snapshot's commit is.
    pub(crate) fn file_url(&self, snapshot: &Snapshot, name: &str) -> Result<Url, HubError> {
        let repository = snapshot.reference.at(&snapshot.commit);
        let path = format!("{}/resolve/{}", repository.url(), repository.url_revision());
        let mut url = address(&format!("{}/{path}", self.access.base()))?;
        // By segments, so that a `?`, `#` or `%` of a name stays one.
        url.path_segments_mut().expect("http addresses have paths").extend(name.split('/'));
        Ok(url)
    }
}

fn address(text: &str) -> Result<Url, HubError> {
    Url::parse(text).map_err(|error| HubError::Listing { url: text.to_owned(), detail: error.to_string() })
}

impl Listed {
    fn read(file: Sibling) -> Result<Self, HubError> {
        if !stays_inside(&file.rfilename) {
            return Err(HubError::Name { name: file.rfilename });
        }
        let blob = file.blob_id.as_deref().and_then(Checksum::from_hex);
        let (size, checksum) = match &file.lfs {
            // What git has of such a file is a pointer, and so is what `blobId` names.
            Some(lfs) => (Some(lfs.size), Checksum::from_hex(&lfs.sha256)),
            None => (file.size, blob),
        };
        Ok(Self { name: file.rfilename, size, checksum })
    }
}

/// Whether a name leads to a place below the folder that it is joined to, on every system.
fn stays_inside(name: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let is_normal = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    name.len() <= NAME_BYTES_MAX
        && is_normal
        && name.split('/').all(plain)
        && !name.contains(['\\', ':'])
        && !name.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_inside_the_folder() {
        for name in ["config.json", "1_Pooling/config.json", "a b#c?.gguf", "...json", "a/..b/c"] {
            assert!(stays_inside(name), "{name}");
        }
        for name in [
            "",
            "/etc/passwd",
            "../x",
            "a/../../x",
            "a/..",
            "./x",
            "a//b",
            "a/",
            "..\\x",
            "C:x",
            "a\0b",
            "a\nb",
        ] {
            assert!(!stays_inside(name), "{name:?}");
        }
    }
}
