//! Conversations that depend on a store or on a provider.

use serde_json::{Value, json};
use wire::call::{Block, Call, Content, Reasoning, Role, Seal, ToolCall};
use wire::openai::responses::{continued, has_translated_seals, untranslatable};
use wire::reply::{FinishReason, Reply, Told};

use super::support::call;

fn answered(blocks: Vec<Content>) -> Reply {
    let blocks = blocks.into_iter().map(Block::from).collect();
    Reply {
        id: None,
        blocks,
        finish: FinishReason::Stop.into(),
        usage: None,
        told: Told::default(),
        others: Vec::new(),
    }
}

fn texts(call: &Call) -> Vec<(Role, &str)> {
    call.turns.iter().map(|turn| (turn.role, turn.blocks[0].as_text().unwrap_or("?"))).collect()
}

#[test]
fn a_continued_call_has_the_earlier_turns_but_not_their_instructions() {
    let first = call(&json!({ "model": "m", "instructions": "old", "input": [
        { "role": "developer", "content": "stays" }, { "role": "user", "content": "one" }] }));
    let next = call(&json!({ "model": "m", "instructions": "new", "input": "two", "temperature": 0.1,
        "previous_response_id": "resp_1" }));
    let second = continued(&first, &answered(vec![Content::Text("1".into())]), next);
    let expected = [
        (Role::System, "new"),
        (Role::System, "stays"),
        (Role::User, "one"),
        (Role::Assistant, "1"),
        (Role::User, "two"),
    ];
    assert_eq!(texts(&second), expected);
    assert_eq!((second.sampling.temperature, second.extras.len()), (Some(0.1), 0));
    // And so on, without the instructions of the second.
    let next = call(&json!({ "model": "m", "input": "three", "previous_response_id": "resp_2" }));
    let third = continued(&second, &answered(vec![Content::Text("2".into())]), next);
    let more = [(Role::Assistant, "2"), (Role::User, "three")];
    assert_eq!(texts(&third), [&expected[1..], &more[..]].concat());
}

#[test]
fn what_a_custom_tool_was_given_is_kept_as_free_text() {
    let first =
        call(&json!({ "model": "m", "input": "hi", "tools": [{ "type": "custom", "name": "patch" }] }));
    let next = call(&json!({ "model": "m", "previous_response_id": "resp_1", "input": [
        { "type": "custom_tool_call_output", "call_id": "c", "output": "done" }] }));
    let made = ToolCall { id: "c".into(), name: "patch".into(), arguments: r#"{"input":"*** x"}"#.into() };
    let second = continued(&first, &answered(vec![Content::ToolCall(made)]), next);
    let Content::ToolCall(call) = &second.turns[1].blocks[0].content else { panic!("no call") };
    assert_eq!(call.arguments, "*** x");
}

#[test]
fn a_call_that_speaks_of_a_store_is_for_its_own_api_alone() {
    let param = |body: Value| untranslatable(&call(&body)).map(|refusal| refusal.param);
    assert_eq!(param(json!({ "model": "m", "input": "hi" })), None);
    assert_eq!(
        param(json!({ "model": "m", "input": "hi", "previous_response_id": "resp_1" })).as_deref(),
        Some("previous_response_id")
    );
    assert_eq!(param(json!({ "model": "m", "conversation": "conv_1" })).as_deref(), Some("conversation"));
    assert_eq!(param(json!({ "model": "m", "prompt": { "id": "pmpt_1" } })).as_deref(), Some("prompt"));
    assert_eq!(param(json!({ "model": "m", "input": [{ "id": "msg_1" }] })).as_deref(), Some("input"));
    let compacted = json!({ "type": "compaction", "encrypted_content": "gAAA" });
    assert_eq!(param(json!({ "model": "m", "input": [compacted] })).as_deref(), Some("input"));
    // A search that was made leaves its text in the answer behind it.
    assert_eq!(param(json!({ "model": "m", "input": [{ "type": "web_search_call", "id": "ws_1" }] })), None);
}

// Rule 30
#[test]
fn seals_that_came_through_a_translation_are_noticed() {
    let sealed = |seal: Seal| {
        let reasoning = Reasoning { text: String::new(), seal: Some(seal), is_redacted: true };
        let turns = vec![wire::call::Turn::new(Role::Assistant, vec![Content::Reasoning(reasoning).into()])];
        has_translated_seals(&Call { turns, ..Call::default() })
    };
    assert!(sealed(Seal::of("cloud", "c2ln")));
    assert!(!sealed(Seal::from_client("gAAA")));
}
