//! `portcullis test`: whether a policy does what its cases say.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use policy::cases::{Cases, Report};
use policy::{Policy, Source};

use super::{CommandError, FAILED, print_json, read_policy, read_source};
use crate::cli::Test;
use crate::policy_files;

pub(super) fn run(settings: &Test) -> Result<ExitCode, CommandError> {
    let policy = read_policy(&settings.routes)?;
    let files = match &settings.cases {
        Some(file) => vec![file.clone()],
        None => files_of(&settings.routes)?,
    };
    let report = report(&files, &policy)?;
    if let Some(file) = &settings.junit {
        std::fs::write(file, report.to_junit())
            .map_err(|error| format!("cannot write the results to {}: {error}", file.display()))?;
    }
    let mut out = stdout().lock();
    if settings.json {
        print_json(&mut out, &report.to_json())?;
    } else {
        writeln!(out, "{report}")?;
    }
    let lacking = settings.require_coverage.filter(|percent| !report.coverage().reaches(*percent));
    if let Some(percent) = lacking.filter(|_| !settings.json) {
        writeln!(out, "FAIL coverage: {percent} % of the entries and of the reasons to refuse are required")?;
    }
    let passed = report.failed_count() == 0 && lacking.is_none();
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// Checks that the policy at `routes` does what the cases beside it say.
///
/// # Errors
/// Returns why they cannot be read, or each case that fails.
pub(crate) fn require(routes: &Path, policy: &Policy) -> Result<(), CommandError> {
    let report = report(&files_of(routes)?, policy)?;
    if report.failed_count() == 0 { Ok(()) } else { Err(report.to_string().into()) }
}

/// Reads files of cases; what is in them is for [`Cases::read_all`].
pub(super) fn read(files: &[PathBuf]) -> Result<Vec<Source>, CommandError> {
    files.iter().map(|file| read_source(file)).collect()
}

fn report(files: &[PathBuf], policy: &Policy) -> Result<Report, CommandError> {
    let cases = Cases::read_all(&read(files)?);
    Ok(cases.map_err(|errors| format!("the test cases are not valid\n{errors}"))?.run(policy))
}

/// The files of cases of the policy at `routes`, at least one.
fn files_of(routes: &Path) -> Result<Vec<PathBuf>, CommandError> {
    let folder = routes.display();
    let files = policy_files::cases(routes).map_err(|error| format!("cannot read {folder}: {error}"))?;
    if files.is_empty() {
        return Err(format!("{folder} has no test cases: write them into {folder}/routes_test.yaml").into());
    }
    Ok(files)
}
