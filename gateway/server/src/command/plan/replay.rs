//! What would have become of the calls in an audit log.

use std::path::Path;

use audit::RecordedCall;
use jiff::Timestamp;
use policy::plan::{Replay, Tally};
use policy::{Ask, DenyCode, Facts, Indirect, IndirectKind, Policy, Who};

use crate::command::CommandError;

/// Decides every recorded call by both policies.
pub(super) fn run(dir: &Path, base: &Policy, new: &Policy) -> Result<Tally, CommandError> {
    let mut replay = Replay::new(base, new);
    audit::calls(dir, |call| match asked(&call) {
        Ok(ask) => replay.call(&ask, call.allowed),
        Err(reason) => replay.leave_out(reason),
    })?;
    Ok(replay.finish())
}

/// Turns a record into the question that it answers.
fn asked(call: &RecordedCall) -> Result<Ask, &'static str> {
    let who =
        Who::recorded(&call.caller_kind, &call.caller_id).ok_or("a kind of caller that is not known here")?;
    // What a caller named in vain is not on record.
    let workflow = call.workflow.clone().ok_or("refused before a workflow was selected")?;
    let model = call.model.clone().ok_or("no model on record")?;
    if call.code == DenyCode::ToolDenied.as_str() {
        return Err("refused for a tool, whose name is not on record");
    }
    let now = call.ts.parse::<Timestamp>().map_or(0, |at| u64::try_from(at.as_second()).unwrap_or(0));
    let offers_tools = call.tools.is_some_and(|tools| tools > 0);
    let facts = Facts {
        model,
        input_tokens: call.input_tokens.unwrap_or(0),
        // The replay puts a name of its own in the place of names that are not on record.
        tools: offers_tools.then(String::new).into_iter().collect(),
        // Of a call that was let through nobody looked for more than was refused.
        content: IndirectKind::of_code(&call.code)
            .map(|kind| Indirect { kind, path: String::new() })
            .into_iter()
            .collect(),
        now,
        ..Facts::default()
    };
    Ok(Ask { who, workflow: Some(workflow), facts })
}
