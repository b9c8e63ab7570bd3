//! Reads the repository: the one place of this crate that touches the disk.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Folders that are never part of the repository, for a copy without git.
const NEVER_OURS: [&str; 4] = [".git", "target", "data", "__pycache__"];

/// The files of the repository: what git tracks or would track.
#[derive(Debug)]
pub struct Repository {
    root: PathBuf,
    /// Paths relative to the root, with forward slashes, sorted.
    pub files: Vec<String>,
}

impl Repository {
    /// Lists the files under `root`; asks git, and walks the folders where there is none (an unpacked archive).
    ///
    /// # Errors
    /// Returns what the file system said if a folder cannot be read.
    pub fn open(root: &Path) -> io::Result<Self> {
        let mut files = match from_git(root) {
            Some(files) => files,
            None => from_folders(root, "")?,
        };
        // The index still names files that the working tree has lost.
        files.retain(|file| root.join(file).is_file());
        files.sort();
        files.dedup();
        Ok(Self { root: root.to_owned(), files })
    }

    /// Returns a file's text.
    ///
    /// # Errors
    /// Returns what the file system said, also where the file is not UTF-8.
    pub fn read(&self, file: &str) -> io::Result<String> {
        fs::read_to_string(self.root.join(file))
            .map_err(|error| io::Error::new(error.kind(), format!("{file}: {error}")))
    }

    /// Returns the paths and texts of all files with one of these endings.
    ///
    /// # Errors
    /// Returns what the file system said if one cannot be read.
    pub fn read_all(&self, endings: &[&str]) -> io::Result<Vec<(String, String)>> {
        let wanted = self.files.iter().filter(|file| endings.iter().any(|ending| file.ends_with(ending)));
        wanted.map(|file| Ok((file.clone(), self.read(file)?))).collect()
    }

    /// Returns the sizes of all files in bytes.
    ///
    /// # Errors
    /// Returns what the file system said if a size cannot be read.
    pub fn sizes(&self) -> io::Result<Vec<(String, u64)>> {
        self.files.iter().map(|file| Ok((file.clone(), fs::metadata(self.root.join(file))?.len()))).collect()
    }
}

fn from_git(root: &Path) -> Option<Vec<String>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").arg("-C").arg(root).args(arguments).output().ok()?;
    let list = String::from_utf8(output.stdout).ok()?;
    let files: Vec<String> = list.split('\0').filter(|file| !file.is_empty()).map(str::to_owned).collect();
    (output.status.success() && !files.is_empty()).then_some(files)
}

fn from_folders(root: &Path, folder: &str) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        // A symbolic link is neither: following one could leave the repository.
        let kind = entry.file_type()?;
        if kind.is_dir() && !NEVER_OURS.contains(&name.as_str()) {
            files.extend(from_folders(root, &path)?);
        } else if kind.is_file() {
            files.push(path);
        }
    }
    Ok(files)
}
