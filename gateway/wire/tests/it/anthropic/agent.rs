//! What a coding agent of this dialect really sends, in short, and where it goes from here.

use wire::call::{Effort, Role, ToolKind};

use super::{read, shown};

/// The shape of Claude Code's first request: instructions that change on the way and stand last, a tool that is no
/// tool yet, settings in JSON inside strings, and a limit of the answer that few models have.
pub(crate) const FIRST: &str = r#"{
  "model": "claude-opus-5-5",
  "messages": [
    {"role": "user", "content": [
      {"type": "text", "text": "<system-reminder>\nThe branch is main.\n</system-reminder>\n"},
      {"type": "text", "text": "<system-reminder>\nThe date is known.\n</system-reminder>\n"},
      {"type": "text", "text": "Fix the test."}]},
    {"role": "system", "content": [
      {"type": "text", "text": "Agents of these types are there: none.", "cache_control": {"type": "ephemeral"}}]}
  ],
  "system": [
    {"type": "text", "text": "x-billing: cc_version=2.1.331;"},
    {"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}},
    {"type": "text", "text": "\nBe careful.\n", "cache_control": {"type": "ephemeral"}}
  ],
  "tools": [
    {"name": "Bash", "description": "Runs a command.", "input_schema": {
      "$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object",
      "properties": {"command": {"type": "string"}, "timeout": {"type": "number", "maximum": 600000}},
      "required": ["command"], "additionalProperties": false}},
    {"name": "DeferredToolPlaceholder", "description": "Stands for more.", "defer_loading": true,
     "input_schema": {"type": "object", "properties": {}}}
  ],
  "metadata": {"user_id": "{\"device_id\":\"d\",\"account_uuid\":\"\",\"session_id\":\"s\"}"},
  "max_tokens": 128000,
  "thinking": {"type": "adaptive", "display": "omitted"},
  "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
  "output_config": {"effort": "medium"},
  "stream": true
}"#;

#[test]
fn an_agents_first_request_is_read_in_full() {
    let call = read(FIRST);
    let roles: Vec<_> = call.turns.iter().map(|turn| (turn.role, turn.blocks.len())).collect();
    assert_eq!(roles, [(Role::System, 3), (Role::User, 3), (Role::System, 1)]);
    assert_eq!(call.max_tokens, Some(128_000));
    assert_eq!(call.thinking.effort, Some(Effort::Medium));
    assert_eq!((call.thinking.enabled, call.thinking.summary.as_deref()), (Some(true), None));
    assert_eq!(call.user.as_deref(), Some(r#"{"device_id":"d","account_uuid":"","session_id":"s"}"#));
    assert!(call.tools.iter().all(|tool| matches!(tool.kind, ToolKind::Function { strict: None, .. })));
    let extras: Vec<_> = call.extras.iter().map(|extra| extra.name.as_str()).collect();
    assert_eq!(extras, ["tools[].defer_loading", "context_management"]);
}

#[test]
fn an_agents_first_request_can_be_sent_to_an_older_model() {
    insta::assert_snapshot!(shown(&read(FIRST), "claude-haiku-4-5@20251001"));
}
