//! What a signature covers: the files of a policy, their order in time, and for how long they hold.
//!
//! ```text
//! portcullis-policy/v1
//! revision 7
//! not_before 2026-11-25T00:00:00Z
//! not_after 2027-02-23T00:00:00Z
//! git_commit 3b18e512dba79e4c8300dd08aeb37f8e728b8dad
//! file b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9 1204 routes.yaml
//! ```
//!
//! Lines and not JSON, because people sign what they have read, and because lines have one spelling: what would
//! not be written the same way again is not read. The first line keeps a signature that was made for something
//! else from meaning a policy. `git_commit` may be absent; files are ordered by path.

use std::fmt;

use super::refusal::Refusal;
use crate::digest::Digest;
use crate::moment::Moment;

/// The first line: what is signed, and in which version of this format.
const SCHEMA: &str = "portcullis-policy/v1";

/// Most files of one policy.
const FILES_MAX: usize = 1000;

/// Longest path of a file, in bytes; with it, the most files fit into a note.
const PATH_BYTES_MAX: usize = 512;

/// Largest revision: exact as a number of any JSON reader.
const REVISION_MAX: u64 = 1 << 53;

/// Why a manifest cannot be made of these parts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// The revision is zero or too large.
    #[error("a revision is a number from 1 to {REVISION_MAX}")]
    Revision,
    /// The policy would never be valid.
    #[error("the policy would end to be valid before it begins to be")]
    Window,
    /// The commit is not in the form of one.
    #[error("a git commit is 40 or 64 lower-case hexadecimal digits")]
    Commit,
    /// There is nothing to sign, or too much.
    #[error("a policy has 1 to {FILES_MAX} files, these are {0}")]
    Files(usize),
    /// A path cannot be named on a line, or could lead out of the policy's folder.
    #[error(
        "the path {0:?} cannot be signed: paths lie below the signature's folder, have at most {PATH_BYTES_MAX} bytes and neither `..` nor control characters"
    )]
    Path(String),
    /// A path stands for two files.
    #[error("the path {0:?} stands for two files")]
    Twice(String),
}

/// When a policy holds: from the first moment on, and before the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// The first moment at which it holds.
    pub not_before: Moment,
    /// The first moment at which it holds no more.
    pub not_after: Moment,
}

/// A file that a signature covers.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SignedFile {
    /// Where it lies, relative to the signature's folder, with `/` between the parts.
    pub path: String,
    /// The hash of its bytes.
    pub sha256: Digest,
    /// How long it is.
    pub size_bytes: u64,
}

impl SignedFile {
    /// Describes `bytes` as the file at `path`.
    pub fn of(path: &str, bytes: &[u8]) -> Self {
        Self { path: path.to_owned(), sha256: Digest::of(bytes), size_bytes: bytes.len() as u64 }
    }
}

/// What a signature covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    revision: u64,
    window: Window,
    git_commit: Option<String>,
    files: Vec<SignedFile>,
}

impl Manifest {
    /// Checks the parts, and orders the files.
    ///
    /// # Errors
    /// Returns [`ManifestError`] if the parts are no policy.
    pub fn new(
        revision: u64,
        window: Window,
        git_commit: Option<String>,
        mut files: Vec<SignedFile>,
    ) -> Result<Self, ManifestError> {
        if !(1..=REVISION_MAX).contains(&revision) {
            return Err(ManifestError::Revision);
        }
        if window.not_before >= window.not_after {
            return Err(ManifestError::Window);
        }
        if git_commit.as_ref().is_some_and(|commit| !is_commit(commit)) {
            return Err(ManifestError::Commit);
        }
        if !(1..=FILES_MAX).contains(&files.len()) {
            return Err(ManifestError::Files(files.len()));
        }
        files.sort_unstable();
        if let Some(file) = files.iter().find(|file| !is_path(&file.path)) {
            return Err(ManifestError::Path(file.path.clone()));
        }
        if let Some(pair) = files.windows(2).find(|pair| pair[0].path == pair[1].path) {
            return Err(ManifestError::Twice(pair[0].path.clone()));
        }
        Ok(Self { revision, window, git_commit, files })
    }

    /// Returns the number that grows with each policy.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns when the policy holds.
    pub fn window(&self) -> Window {
        self.window
    }

    /// Returns the commit that the files are said to come from. The signer says so; nothing checks it.
    pub fn git_commit(&self) -> Option<&str> {
        self.git_commit.as_deref()
    }

    /// Returns the files, ordered by path.
    pub fn files(&self) -> &[SignedFile] {
        &self.files
    }

    /// Reads the text of a note.
    pub(crate) fn parse(text: &str) -> Result<Self, Refusal> {
        const FORM: &str = "its lines are not those of a policy's manifest";
        if text.lines().next() != Some(SCHEMA) {
            return Err(Refusal::Schema);
        }
        let manifest = Self::read(text).ok_or(Refusal::Malformed(FORM))?;
        // One spelling: no leading zeros, no other order, nothing left over.
        if manifest.to_string() == text { Ok(manifest) } else { Err(Refusal::Malformed(FORM)) }
    }

    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines().skip(1).peekable();
        let revision = lines.next()?.strip_prefix("revision ")?.parse().ok()?;
        let not_before = Moment::parse(lines.next()?.strip_prefix("not_before ")?)?;
        let not_after = Moment::parse(lines.next()?.strip_prefix("not_after ")?)?;
        let git_commit =
            lines.peek().and_then(|line| line.strip_prefix("git_commit ")).map(ToOwned::to_owned);
        let files = lines.skip(usize::from(git_commit.is_some())).map(file).collect::<Option<_>>()?;
        Self::new(revision, Window { not_before, not_after }, git_commit, files).ok()
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { revision, window: Window { not_before, not_after }, git_commit, files } = self;
        writeln!(f, "{SCHEMA}\nrevision {revision}\nnot_before {not_before}\nnot_after {not_after}")?;
        if let Some(commit) = git_commit {
            writeln!(f, "git_commit {commit}")?;
        }
        files.iter().try_for_each(|SignedFile { path, sha256, size_bytes }| {
            writeln!(f, "file {sha256} {size_bytes} {path}")
        })
    }
}

fn file(line: &str) -> Option<SignedFile> {
    let mut words = line.strip_prefix("file ")?.splitn(3, ' ');
    let sha256 = Digest::from_hex(words.next()?)?;
    let size_bytes = words.next()?.parse().ok()?;
    Some(SignedFile { path: words.next()?.to_owned(), sha256, size_bytes })
}

fn is_commit(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Says whether a path names a file below a folder, on one line, in one way.
fn is_path(path: &str) -> bool {
    let part = |part: &str| !matches!(part, "" | "." | "..");
    path.len() <= PATH_BYTES_MAX
        && !path.contains(|c: char| c.is_control() || c == '\\')
        && path.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(not_before: &str, not_after: &str) -> Window {
        Window {
            not_before: Moment::parse(not_before).unwrap(),
            not_after: Moment::parse(not_after).unwrap(),
        }
    }

    fn written() -> String {
        let files =
            ["teams/b.yaml", "routes.yaml", "a file.yaml"].map(|path| SignedFile::of(path, b"version: 1\n"));
        let window = window("2026-11-25", "2027-02-23");
        let manifest = Manifest::new(7, window, Some("0123456789".repeat(4)), files.into()).unwrap();
        manifest.to_string()
    }

    #[test]
    fn a_manifest_reads_as_people_review_it() {
        insta::assert_snapshot!(written());
        assert_eq!(Manifest::parse(&written()).unwrap().to_string(), written());
        let uncommitted = written().replace(&format!("git_commit {}\n", "0123456789".repeat(4)), "");
        assert_eq!(Manifest::parse(&uncommitted).unwrap().git_commit(), None);
    }

    #[test]
    fn a_manifest_has_one_spelling() {
        let text = written();
        for (from, to) in [
            ("revision 7", "revision 07"),
            ("revision 7", "revision +7"),
            ("revision 7", "revision 0"),
            ("revision 7", "revision 9007199254740993"),
            ("revision 7\n", ""),
            ("revision 7\n", "revision 7\nrevision 8\n"),
            ("T00:00:00Z\nnot_after", "\nnot_after"),
            ("2027-02-23", "2026-11-25"),
            ("not_before", "not_after"),
            ("git_commit 0123456789", "git_commit 012345678X"),
            ("git_commit 0123456789", "git_commit "),
            (" 11 ", " 011 "),
            (" 11 ", "  11 "),
            ("routes.yaml", "../routes.yaml"),
            ("routes.yaml", "/routes.yaml"),
            ("routes.yaml", "./routes.yaml"),
            ("routes.yaml", "a//b"),
            ("routes.yaml", "a\\b"),
            ("routes.yaml", "zebra.yaml"),
            ("routes.yaml", "a file.yaml"),
            ("routes.yaml", ""),
            ("teams/b.yaml\n", "teams/b.yaml\n\n"),
            ("teams/b.yaml\n", "teams/b.yaml\nremark\n"),
            ("teams/b.yaml\n", "teams/b.yaml"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            let error = Manifest::parse(&changed).unwrap_err();
            assert!(matches!(error, Refusal::Malformed(_)), "{from} -> {to}: {error}");
        }
        for other in ["portcullis-policy/v2\n", "", "go.sum database tree\n1\nx\n"] {
            assert_eq!(Manifest::parse(other), Err(Refusal::Schema));
        }
        let older = text.replacen("/v1", "/v10", 1);
        assert_eq!(Manifest::parse(&older), Err(Refusal::Schema));
    }

    #[test]
    fn what_is_no_policy_is_not_signed() {
        let (good, file) = (window("2026-11-25", "2027-02-23"), SignedFile::of("routes.yaml", b""));
        let make = |revision, window, files| Manifest::new(revision, window, None, files).unwrap_err();
        assert_eq!(make(0, good, vec![file.clone()]), ManifestError::Revision);
        assert_eq!(make(1, window("2026-11-25", "2026-11-25"), vec![file.clone()]), ManifestError::Window);
        assert_eq!(make(1, good, vec![]), ManifestError::Files(0));
        assert_eq!(make(1, good, vec![file.clone(), file]), ManifestError::Twice("routes.yaml".to_owned()));
        let outside = SignedFile::of("../routes.yaml", b"");
        assert_eq!(make(1, good, vec![outside]), ManifestError::Path("../routes.yaml".to_owned()));
        let largest = (0..FILES_MAX).map(|n| SignedFile::of(&format!("{n:0>512}"), b"")).collect();
        let text = Manifest::new(1, good, None, largest).unwrap().to_string();
        assert!(text.len() < super::super::note::NOTE_BYTES_MAX * 3 / 4, "signatures find room behind it");
    }
}
