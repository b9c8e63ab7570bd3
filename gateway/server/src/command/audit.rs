//! `portcullis audit verify`: whether the records are whole and unaltered.

use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use super::CommandError;

pub(super) fn verify(dir: &Path) -> Result<ExitCode, CommandError> {
    let mut out = stdout().lock();
    match audit::verify::verify(dir) {
        Ok(report) => {
            writeln!(out, "{report}")?;
            Ok(ExitCode::from(report.exit_code()))
        }
        Err(error) => {
            writeln!(out, "cannot verify {}: {}", dir.display(), crate::error::with_causes(&error))?;
            Ok(ExitCode::from(audit::verify::CANNOT_RUN))
        }
    }
}
