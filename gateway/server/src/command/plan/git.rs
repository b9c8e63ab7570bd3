//! The policy as it is at a revision of git.
//!
//! The one program that `portcullis` ever starts, in a process that serves nothing: `git cat-file`, which reads an
//! object of the repository that is already here and asks no remote. `.ci/tidy` lets this file alone name it.

use std::path::Path;
use std::process::{Command, Stdio};

use policy::Source;

use crate::command::CommandError;

/// Reads the file `path` as it is at `revision`.
pub(super) fn at(revision: &str, path: &Path) -> Result<Source, CommandError> {
    if revision.starts_with('-') || revision.is_empty() {
        return Err(format!("`{revision}` is neither a file nor a revision of git").into());
    }
    let file = path.file_name().ok_or("the new policy has no file name")?.to_string_lossy();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Relative to the folder, wherever that lies in the repository. No filter or converter of the repository runs.
    let object = format!("{revision}:./{file}");
    let output = Command::new("git")
        .args(["cat-file", "blob", &object])
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("`{revision}` is no file here, and git cannot be asked for it: {error}"))?;
    if !output.status.success() {
        let reason = String::from_utf8_lossy(&output.stderr);
        let reason = reason.lines().next().unwrap_or("git does not say why").to_owned();
        return Err(format!("`{revision}` is no file here, and git has no `{object}`: {reason}").into());
    }
    let text = String::from_utf8(output.stdout).map_err(|_| format!("`{object}` is not UTF-8 text"))?;
    Ok(Source { name: object, text })
}
