//! The policy that the broker accepted last, in files of its own.
//!
//! A broker that is started again while the policy's files are broken, or say something that the gateway has not taken yet,
//! goes on with what the gateway still decides by. The copy lies where the gateway cannot write. It is read as the files
//! themselves are: what has to be signed is verified again, with the keys of this moment, and what has expired is refused.
//!
//! Deliberately absent: a way for the gateway to start with it. A program whose files are broken does not start.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use policy::Policy;

use crate::cli::Serve;
use crate::command::CommandError;
use crate::policy_files::{self, PolicyFiles};
use crate::signed::{self, SignedBy};

/// The folder of the copy, beside the revision that was accepted last.
const FOLDER: &str = "in_force";

/// Keeps files that were accepted, instead of those before. `own` are the settings with the broker's own folder for data.
///
/// Whoever is ended in the middle leaves no copy, and never one of two policies.
pub(super) fn keep(own: &Serve, files: &PolicyFiles) -> io::Result<()> {
    let folder = folder(own);
    let draft = folder.with_extension("new");
    gone(&draft)?;
    fs::create_dir_all(&draft)?;
    let put = |path: &Path, bytes: &[u8]| match path.file_name() {
        Some(name) => fs::write(draft.join(name), bytes),
        None => Err(io::ErrorKind::InvalidInput.into()),
    };
    for source in files.sources() {
        put(Path::new(&source.name), source.text.as_bytes())?;
    }
    // It may be another one by now; then the copy does not verify.
    let signature = policy_files::signature(&own.routes);
    match fs::read(&signature) {
        Ok(bytes) => put(&signature, &bytes)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    gone(&folder)?;
    fs::rename(&draft, &folder)
}

/// Reads what was kept.
pub(super) fn read(own: &Serve) -> Result<(Policy, Option<SignedBy>), CommandError> {
    let folder = folder(own);
    let routes = match own.routes.file_name() {
        Some(name) if !own.routes.is_dir() => folder.join(name),
        _ => folder,
    };
    signed::read_policy(&Serve { routes, ..own.clone() })
}

fn folder(own: &Serve) -> PathBuf {
    own.data_dir.join(signed::STATE_FOLDER).join(FOLDER)
}

fn gone(folder: &Path) -> io::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
