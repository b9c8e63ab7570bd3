//! `portcullis schema`: the format of routes.yaml, for editors.

use std::io::{Write, stdout};
use std::process::ExitCode;

use super::CommandError;

/// What `--help` says below.
pub(crate) const HELP: &str = "\
For editors with a YAML language server: write the schema to a file, and name it in the first line
of routes.yaml:
  portcullis schema > routes.v1.json
  # yaml-language-server: $schema=./routes.v1.json

A schema cannot say everything: `portcullis check` also knows which names are declared, what a
workflow reaches, and how YAML has to be spelled.";

/// The schema that this build's reader agrees with; a test of `policy` holds the two together.
const SCHEMA: &str = include_str!("../../../../docs/schema/routes.v1.json");

pub(super) fn run() -> Result<ExitCode, CommandError> {
    stdout().lock().write_all(SCHEMA.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
