//! `portcullis audit`: whether a record is whole and unaltered, and whether it agrees with that of another process.

use std::io::{Write, stdout};
use std::path::Path;
use std::process::ExitCode;

use audit::verify::{CANNOT_RUN, VerifyError};

use super::{CommandError, print_json};
use crate::cli::Reconcile;

pub(super) fn verify(dir: &Path) -> Result<ExitCode, CommandError> {
    match audit::verify::verify(dir) {
        Ok(report) => {
            writeln!(stdout(), "{report}")?;
            Ok(ExitCode::from(report.exit_code()))
        }
        Err(error) => cannot("verify", &error),
    }
}

pub(super) fn reconcile(asked: &Reconcile) -> Result<ExitCode, CommandError> {
    let Reconcile { gateway, witnesses, json } = asked;
    match audit::reconcile::reconcile(std::slice::from_ref(gateway), witnesses) {
        Ok(report) => {
            if *json {
                print_json(&mut stdout(), &serde_json::to_value(&report)?)?;
            } else {
                writeln!(stdout(), "{report}")?;
            }
            Ok(ExitCode::from(report.exit_code()))
        }
        Err(error) => cannot("reconcile", &error),
    }
}

/// Says why there is no answer, which is not an answer of "no".
fn cannot(what: &str, error: &VerifyError) -> Result<ExitCode, CommandError> {
    writeln!(stdout(), "cannot {what}: {}", crate::error::with_causes(error))?;
    Ok(ExitCode::from(CANNOT_RUN))
}
