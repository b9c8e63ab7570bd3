//! How much a model is to think, in the words that each generation takes.

use serde_json::{Value, json};
use wire::call::{
    Block, Call, Content, Effort, Reasoning, Role, Sampling, Seal, Thinking, Tool, ToolCall, ToolChoice,
    ToolKind, ToolResult, Turn,
};

use super::{call_of, user, write};

fn effort(effort: Effort) -> Thinking {
    Thinking { effort: Some(effort), ..Thinking::default() }
}

/// Checks what `thinking` becomes for `model`: `thinking`, the word for effort, and what is lost.
#[track_caller]
fn check(thinking: Thinking, model: &str, config: &Value, word: Option<&str>, lost: &[&str]) {
    let call = Call { thinking, ..call_of(vec![user("a")]) };
    let (body, names) = write(&call, model);
    assert_eq!(body.get("thinking").unwrap_or(&Value::Null), config, "{model}");
    assert_eq!(body["output_config"]["effort"].as_str(), word, "{model}");
    assert_eq!(names, lost, "{model}");
}

#[test]
fn effort_is_a_budget_for_models_that_know_no_effort() {
    let budget = |tokens| json!({"type": "enabled", "budget_tokens": tokens});
    check(effort(Effort::Medium), "claude-haiku-4-5", &budget(8192), None, &[]);
    check(effort(Effort::Minimal), "claude-3-7-sonnet@20250219", &budget(1024), None, &[]);
    check(effort(Effort::Medium), "glm-5", &budget(8192), None, &[]);
    let on = Thinking { enabled: Some(true), ..Thinking::default() };
    check(on, "claude-sonnet-4-5", &budget(16_384), None, &[]);
    check(effort(Effort::High), "claude-3-5-haiku-latest", &Value::Null, None, &["thinking"]);
}

#[test]
fn a_budget_is_effort_for_models_that_know_no_budget() {
    let budget = Thinking { budget_tokens: Some(8000), enabled: Some(true), ..Thinking::default() };
    let adaptive = json!({"type": "adaptive"});
    check(budget, "claude-opus-4-7", &adaptive, Some("medium"), &["thinking.budget_tokens"]);
    check(effort(Effort::Max), "claude-opus-4-6", &adaptive, Some("max"), &[]);
    check(effort(Effort::XHigh), "claude-opus-4-6", &adaptive, Some("high"), &[]);
    let summary = Thinking { summary: Some("concise".into()), ..effort(Effort::Low) };
    let summarized = json!({"type": "adaptive", "display": "summarized"});
    check(summary, "claude-opus-5", &summarized, Some("low"), &[]);
}

#[test]
fn not_to_think_is_said_where_a_model_would_think_otherwise() {
    check(effort(Effort::None), "claude-sonnet-4-5", &Value::Null, None, &[]);
    check(effort(Effort::None), "claude-opus-5", &json!({"type": "disabled"}), None, &[]);
    check(effort(Effort::None), "claude-opus-5-5", &Value::Null, Some("low"), &["thinking"]);
    let off = Thinking { enabled: Some(false), ..Thinking::default() };
    check(off, "claude-fable-5", &Value::Null, Some("low"), &["thinking"]);
    check(Thinking::default(), "claude-opus-5", &Value::Null, None, &[]);
}

#[test]
fn thoughts_and_answer_share_the_limit() {
    let with_limit = |max_tokens, budget_tokens| {
        let thinking = Thinking { budget_tokens: Some(budget_tokens), ..Thinking::default() };
        let call = Call { max_tokens: Some(max_tokens), thinking, ..call_of(vec![user("a")]) };
        let (body, lost) = write(&call, "claude-sonnet-4-5");
        (body["thinking"]["budget_tokens"].as_u64(), lost)
    };
    assert_eq!(with_limit(8000, 4000), (Some(4000), vec![]));
    assert_eq!(with_limit(8000, 8000), (Some(4000), vec!["thinking.budget_tokens".to_owned()]));
    assert_eq!(with_limit(8000, 10), (Some(1024), vec!["thinking.budget_tokens".to_owned()]));
    assert_eq!(with_limit(1500, 8000), (None, vec!["thinking".to_owned()]));
}

#[test]
fn a_model_that_must_use_a_tool_is_not_told_to_think() {
    let tool = Tool {
        name: "f".into(),
        description: None,
        kind: ToolKind::Function { parameters: json!({}), strict: None },
        cache: None,
    };
    let call = Call {
        tools: vec![tool],
        tool_choice: ToolChoice::Required,
        thinking: effort(Effort::High),
        ..call_of(vec![user("a")])
    };
    let (body, lost) = write(&call, "claude-sonnet-4-5");
    assert_eq!((body.get("thinking"), lost), (None, vec!["thinking".to_owned()]));
    let (body, _) = write(&call, "claude-opus-5");
    assert_eq!(body["thinking"], json!({"type": "disabled"}));
    assert_eq!(body["output_config"], json!({"effort": "high"}));
}

#[test]
fn sampling_gives_way_to_thoughts() {
    let sampling =
        Sampling { temperature: Some(0.2), top_p: Some(0.99), top_k: Some(5), ..Sampling::default() };
    let call = Call { sampling, thinking: effort(Effort::Low), ..call_of(vec![user("a")]) };
    let (body, lost) = write(&call, "claude-sonnet-4-5");
    assert_eq!((body.get("temperature"), body.get("top_k")), (None, None));
    assert_eq!(body["top_p"], 0.99);
    assert_eq!(lost, ["temperature", "top_k"]);
}

/// A call in the middle of a tool's use, after reasoning with `seal`.
fn in_the_middle(seal: Option<Seal>) -> Call {
    let reasoning = Content::Reasoning(Reasoning { text: "Hm.".into(), seal, is_redacted: false });
    let tool_call = ToolCall { id: "c".into(), name: "f".into(), arguments: String::new() };
    let result =
        ToolResult { call_id: "c".into(), name: None, content: vec![Block::text("r")], is_error: false };
    let turns = vec![
        user("a"),
        Turn::new(Role::Assistant, vec![reasoning.into(), Content::ToolCall(tool_call).into()]),
        Turn::new(Role::User, vec![Content::ToolResult(result).into()]),
    ];
    Call { thinking: effort(Effort::Medium), ..call_of(turns) }
}

#[test]
fn reasoning_goes_back_to_the_provider_that_sealed_it_and_to_no_other() {
    // Rule 30, complaint 21
    let (body, lost) = write(&in_the_middle(Some(Seal::of("cloud", "c2ln"))), "claude-sonnet-4-5");
    let first = &body["messages"][1]["content"][0];
    assert_eq!(first, &json!({"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}));
    assert_eq!(body["thinking"]["type"], "enabled");
    assert_eq!(lost, [""; 0]);

    for seal in [None, Some(Seal::of("other", "c2ln")), Some(Seal { issuer: None, data: "c2ln".into() })] {
        let (body, lost) = write(&in_the_middle(seal.clone()), "claude-sonnet-4-5");
        assert_eq!(body["messages"][1]["content"][0]["type"], "tool_use");
        // With a budget it may only go on with thoughts of its own.
        assert_eq!(body.get("thinking"), None);
        assert_eq!(lost, ["content.reasoning", "thinking"]);
        let (body, lost) = write(&in_the_middle(seal), "claude-opus-4-6");
        assert_eq!(body["thinking"], json!({"type": "adaptive"}));
        assert_eq!(lost, ["content.reasoning"]);
    }
}
