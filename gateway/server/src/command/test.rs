//! `portcullis test`: whether a policy does what its cases say.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use policy::Policy;
use policy::cases::Cases;

use super::{CommandError, FAILED, print_json, read_policy, read_source};
use crate::cli::Test;

pub(super) fn run(settings: &Test) -> Result<ExitCode, CommandError> {
    let policy = read_policy(&settings.file)?;
    let file = settings.cases.clone().unwrap_or_else(|| beside(&settings.file));
    let source = read_source(&file)?;
    let cases = Cases::read(&source).map_err(|errors| format!("the test cases are not valid\n{errors}"))?;
    let report = cases.run(&policy);
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

/// Checks that a policy does what the cases beside its file say.
///
/// # Errors
/// Returns why they cannot be read, or each case that fails.
pub(crate) fn require(file: &Path, policy: &Policy) -> Result<(), CommandError> {
    let source = read_source(&beside(file))?;
    let report = Cases::read(&source)?.run(policy);
    if report.failed_count() == 0 { Ok(()) } else { Err(report.to_string().into()) }
}

/// Where the cases of a policy stand: `routes_test.yaml` beside `routes.yaml`.
pub(crate) fn beside(policy: &Path) -> PathBuf {
    let stem = policy.file_stem().unwrap_or_default().to_string_lossy();
    policy.with_file_name(format!("{stem}_test.yaml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cases_stand_beside_the_policy() {
        assert_eq!(beside(Path::new("routes.yaml")), Path::new("routes_test.yaml"));
        assert_eq!(beside(Path::new("a/prod.yml")), Path::new("a/prod_test.yaml"));
    }
}
