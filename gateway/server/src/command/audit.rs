//! `portcullis audit verify`: whether the records are whole and unaltered.

use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use super::CommandError;

pub(super) fn verify(dir: &Path) -> Result<ExitCode, CommandError> {
    let mut out = stdout().lock();
    let outcome = audit::verify::verify(dir);
    match &outcome {
        Ok(report) => writeln!(out, "{report}")?,
        Err(error) => writeln!(out, "cannot verify: {}", crate::error::with_causes(error))?,
    }
    Ok(ExitCode::from(audit::verify::exit_code(&outcome)))
}
