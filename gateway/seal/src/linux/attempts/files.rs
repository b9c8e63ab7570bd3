//! Files outside of what was granted.

use std::fs::{self, File};
use std::io;
use std::process;

use super::{Row, outcome};
use crate::escapes::{Context, Layer};
use crate::linux::sys::Harmless;

pub(super) const LIST: &[Row] = &[
    ("read a file outside", Layer::Landlock, |context| outcome(File::open(&context.file).map(|_| "opened"))),
    ("write a file outside", Layer::Landlock, |context| outcome(written(context))),
    ("open a file by handle", Layer::Seccomp, |_| outcome(Harmless::HANDLE.call().map(|_| "opened"))),
    ("change a file's mode by name", Layer::Seccomp, |_| outcome(Harmless::CHMOD.call().map(|_| "changed"))),
    ("change a file's owner by name", Layer::Seccomp, |_| outcome(Harmless::CHOWN.call().map(|_| "changed"))),
];

/// Makes an empty file under a name of its own, and takes it away again.
fn written(context: &Context) -> io::Result<&'static str> {
    let path = context.folder.join(format!(".seal-attempt-{}", process::id()));
    File::create_new(&path)?;
    Ok(fs::remove_file(&path).map_or("made a file that stays", |()| "made a file"))
}
