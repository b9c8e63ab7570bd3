//! `portcullis check`: what a policy says, or what is wrong with it.

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use policy::cases::Cases;
use policy::{Diagnostic, Policy, Severity, Tests};
use serde_json::{Value, json};

use super::{CommandError, FAILED, print_json, test};
use crate::clock::now;
use crate::policy_files::{self, PolicyFiles};

/// What `--help` says below the flags.
pub(crate) const HELP: &str = "\
Each finding is FILE:LINE:COLUMN: MESSAGE, and a hint below it. Errors keep a policy from loading.
Warnings are about what loads and was most likely not meant: entries that no call reaches, models
and providers that nothing uses, callers without a key, secrets in the environment, keys that have
expired, workflows without tests.

With --json: { valid, digest, errors, warnings, findings: [ { file, line, column, severity,
message, hint } ], workflows: [ { name, owner, egress, models } ] }, where severity is `error` or
`warning`, digest is null if the file is not valid, and hint is null where there is none.

Exit code: 0 valid, 1 errors, or warnings with --strict.";

/// What to check.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// The policy: a file, or a folder of files
    #[arg(default_value = "routes.yaml", value_name = "FILE|DIR")]
    routes: PathBuf,
    /// Print JSON, for programs
    #[arg(long)]
    json: bool,
    /// Fail on warnings too
    #[arg(long)]
    strict: bool,
}

pub(super) fn run(settings: &Check) -> Result<ExitCode, CommandError> {
    let files = PolicyFiles::read(&settings.routes)?;
    let (tests, mistakes) = tests_of(&settings.routes, &files)?;
    let checked = files.check(&tests, now());
    let (policy, findings) = match &checked {
        Ok(policy) => (Some(policy), [policy.warnings(), &mistakes].concat()),
        Err(errors) => (None, errors.list().to_vec()),
    };
    let mut out = stdout().lock();
    if settings.json {
        print_json(&mut out, &report(policy, &findings))?;
    } else if let Err(errors) = &checked {
        writeln!(out, "{errors}")?;
    } else {
        for warning in &findings {
            writeln!(out, "{warning}")?;
        }
        if let Some(policy) = policy {
            summarise(&mut out, policy, files.name())?;
        }
    }
    let is_clean = policy.is_some() && (findings.is_empty() || !settings.strict);
    Ok(if is_clean { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn summarise(out: &mut impl Write, policy: &Policy, file: &str) -> std::io::Result<()> {
    for workflow in policy.workflows() {
        let models: Vec<&str> = workflow.reachable_models().map(|model| model.name().as_ref()).collect();
        let mode = workflow.egress_mode().as_str();
        let (name, owner) = (workflow.name(), workflow.owner());
        writeln!(out, "{name}: {mode}, owner {owner}, reaches {}", models.join(", "))?;
    }
    writeln!(out, "{file} is valid, digest {}", policy.digest())
}

fn report(policy: Option<&Policy>, findings: &[Diagnostic]) -> Value {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let workflows = policy.into_iter().flat_map(Policy::workflows).map(|workflow| {
        let models: Vec<&str> = workflow.reachable_models().map(|model| model.name().as_ref()).collect();
        json!({
            "name": workflow.name().as_str(),
            "owner": workflow.owner(),
            "egress": workflow.egress_mode().as_str(),
            "models": models,
        })
    });
    json!({
        "valid": policy.is_some(),
        "digest": policy.map(|policy| policy.digest().to_string()),
        "errors": count(Severity::Error),
        "warnings": count(Severity::Warning),
        "findings": findings.iter().map(finding).collect::<Value>(),
        "workflows": workflows.collect::<Value>(),
    })
}

fn finding(finding: &Diagnostic) -> Value {
    let severity = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    json!({
        "file": &*finding.file,
        "line": finding.line,
        "column": finding.column,
        "severity": severity,
        "message": finding.message,
        "hint": finding.hint,
    })
}

/// What is known of the tests of a policy: which workflows have some, and what is wrong with the files of cases. These
/// keep no policy from loading, so it is only warned of.
fn tests_of(routes: &Path, policy: &PolicyFiles) -> Result<(Tests, Vec<Diagnostic>), CommandError> {
    let mut files = policy_files::cases(routes)?;
    files.retain(|file| file.exists());
    if files.is_empty() {
        return Ok((Tests::Missing, Vec::new()));
    }
    // What is wrong with the policy itself is for the check to say.
    let Ok(policy) = policy.compile() else { return Ok((Tests::Unknown, Vec::new())) };
    Ok(match Cases::read_all(&test::read(&files)?) {
        Ok(cases) => (Tests::Of(cases.run(&policy).workflows()), Vec::new()),
        Err(errors) => (Tests::Unknown, errors.list().iter().map(warning).collect()),
    })
}

fn warning(error: &Diagnostic) -> Diagnostic {
    Diagnostic { severity: Severity::Warning, ..error.clone() }
}
