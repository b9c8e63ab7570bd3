//! `portcullis key new`: a key for a caller, and the line that admits it.

use std::io::{Write, stdout};
use std::process::ExitCode;

use policy::KeyId;
use policy::key::ApiKey;

use super::CommandError;

pub(super) fn new(id: &str) -> Result<ExitCode, CommandError> {
    let id = KeyId::new(id).map_err(|error| format!("`{id}` cannot be a key's id: {error}"))?;
    let key = ApiKey::from_entropy(id, rand::random());
    let mut out = stdout().lock();
    writeln!(out, "The key, shown this once. Give it to the agent as its API key:\n\n  {}\n", key.expose())?;
    writeln!(out, "Its line for `callers` of a workflow in routes.yaml:\n\n  {}", key.caller_line())?;
    Ok(ExitCode::SUCCESS)
}
