//! `portcullis schema`: the format of routes.yaml, for editors.

use std::io::{Write, stdout};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use policy::SchemaOf;

use super::CommandError;

/// What `--help` says below.
pub(crate) const HELP: &str = "\
For editors with a YAML language server: write the schema to a file, and name it in the first line
of routes.yaml:
  portcullis schema > routes.v1.json
  # yaml-language-server: $schema=./routes.v1.json

For a policy in a folder there are two: --of base for its routes.yaml, --of part for the other files.

A schema cannot say everything: `portcullis check` also knows which names are declared, what a
workflow reaches, and how YAML has to be spelled.";

/// What to print.
#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// Which file it is for
    #[arg(long, value_enum, default_value = "whole", value_name = "FILE")]
    of: File,
}

/// A file of a policy.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum File {
    /// A policy in one file
    Whole,
    /// The routes.yaml of a folder, which need not have workflows
    Base,
    /// Another file of a folder, with workflows alone
    Part,
}

pub(super) fn run(settings: &Schema) -> Result<ExitCode, CommandError> {
    let of = match settings.of {
        File::Whole => SchemaOf::Whole,
        File::Base => SchemaOf::Base,
        File::Part => SchemaOf::Part,
    };
    stdout().lock().write_all(policy::schema(of).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
