//! The policy as it is at a revision of git.
//!
//! The one program that `portcullis` ever starts, in a process that serves nothing: `git`, to list a folder and to
//! read objects of the repository that is already here; no remote is asked. `.ci/tidy` lets this file alone name it.

use std::path::Path;
use std::process::{Command, Stdio};

use policy::Source;

use crate::command::CommandError;
use crate::policy_files::{PolicyFiles, choose};

/// Reads the policy that stands at `routes`, a file or a folder, as it is at `revision`.
pub(super) fn at(revision: &str, routes: &Path) -> Result<PolicyFiles, CommandError> {
    if revision.starts_with('-') || revision.is_empty() {
        return Err(format!("`{revision}` is neither a file nor a revision of git").into());
    }
    if routes.is_dir() {
        let tree = Tree { revision, folder: routes };
        let names = choose(tree.list()?)
            .map_err(|why| format!("the policy in the folder {} at {revision}: {why}", routes.display()))?;
        let sources = names.iter().map(|name| tree.read(name)).collect::<Result<_, _>>()?;
        return Ok(PolicyFiles::new(tree.object(""), sources));
    }
    let file = routes.file_name().ok_or("the new policy has no file name")?.to_string_lossy();
    let folder = routes.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let tree = Tree { revision, folder };
    Ok(PolicyFiles::new(tree.object(&file), vec![tree.read(&file)?]))
}

/// A folder of today, at a revision.
#[derive(Clone, Copy)]
struct Tree<'a> {
    revision: &'a str,
    folder: &'a Path,
}

impl Tree<'_> {
    /// What git calls a file here: relative to the folder, wherever that lies in the repository.
    fn object(self, name: &str) -> String {
        format!("{}:./{name}", self.revision)
    }

    /// Reads a file. No filter or converter of the repository runs.
    fn read(self, name: &str) -> Result<Source, CommandError> {
        let object = self.object(name);
        let text = self.git(&["cat-file", "blob", &object], &object)?;
        Ok(Source { name: object, text })
    }

    /// Returns the names of the files in the folder.
    fn list(self) -> Result<Vec<String>, CommandError> {
        let object = self.object("");
        let listed = self.git(&["ls-tree", "--full-tree", "-z", &object], &object)?;
        // MODE TYPE HASH, a tab, and the name. A link is read as the path in it, which is no policy.
        let entries = listed.split_terminator('\0').filter_map(|entry| entry.split_once('\t'));
        let files = entries.filter(|(what, _)| what.split(' ').nth(1) == Some("blob"));
        Ok(files.map(|(_, name)| name.to_owned()).collect())
    }

    fn git(self, arguments: &[&str], object: &str) -> Result<String, CommandError> {
        let revision = self.revision;
        let output = Command::new("git")
            .args(arguments)
            .current_dir(self.folder)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| {
                format!("`{revision}` is no file here, and git cannot be asked for it: {error}")
            })?;
        if !output.status.success() {
            let reason = String::from_utf8_lossy(&output.stderr);
            let reason = reason.lines().next().unwrap_or("git does not say why").to_owned();
            return Err(format!("`{revision}` is no file here, and git has no `{object}`: {reason}").into());
        }
        Ok(String::from_utf8(output.stdout).map_err(|_| format!("`{object}` is not UTF-8 text"))?)
    }
}
