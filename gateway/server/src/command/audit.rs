//! `portcullis audit verify`: whether the records are whole and unaltered.

use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use super::CommandError;

pub(super) fn verify(dir: &Path) -> Result<ExitCode, CommandError> {
    let mut out = stdout().lock();
    let code = match audit::verify::verify(dir) {
        Ok(report) => {
            writeln!(out, "{report}")?;
            report.exit_code()
        }
        Err(error) => {
            writeln!(out, "cannot verify: {}", crate::error::with_causes(&error))?;
            audit::verify::CANNOT_RUN
        }
    };
    Ok(ExitCode::from(code))
}
