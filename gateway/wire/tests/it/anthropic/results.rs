//! Results of tools: they follow their calls, whatever order the caller's dialect allows.

use serde_json::{Value, json};
use wire::call::{Block, Content, Image, Role, Source, ToolCall, ToolResult, Turn};

use super::{call_of, user, write};

fn called(ids: &[&str]) -> Turn {
    let call = |id: &&str| {
        let call = ToolCall { id: (*id).into(), name: "f".into(), arguments: String::new() };
        Block::from(Content::ToolCall(call))
    };
    Turn::new(Role::Assistant, ids.iter().map(call).collect())
}

fn result(id: &str, content: Vec<Block>, is_error: bool) -> Block {
    Content::ToolResult(ToolResult { call_id: id.into(), name: None, content, is_error }).into()
}

fn gave(id: &str, text: &str) -> Turn {
    Turn::new(Role::User, vec![result(id, vec![Block::text(text)], false)])
}

fn answered(text: &str) -> Turn {
    Turn::new(Role::Assistant, vec![Block::text(text)])
}

/// Each message in short: its role, and the text or id of each block.
fn outline(turns: Vec<Turn>) -> Vec<String> {
    let (body, lost) = write(&call_of(turns), "claude-opus-5");
    assert_eq!(lost, [""; 0]);
    let word = |block: &Value| match block["type"].as_str() {
        Some("text") => block["text"].as_str().expect("the member is there").to_owned(),
        Some("tool_use") => format!("call {}", block["id"].as_str().expect("the member is there")),
        Some("tool_result") => {
            format!("result {}", block["tool_use_id"].as_str().expect("the member is there"))
        }
        other => panic!("{other:?}"),
    };
    let messages = body["messages"].as_array().expect("the member is there");
    let short = |message: &Value| {
        let words: Vec<_> =
            message["content"].as_array().expect("the member is there").iter().map(word).collect();
        format!("{}: {}", message["role"].as_str().expect("the member is there"), words.join(", "))
    };
    messages.iter().map(short).collect()
}

#[test]
fn results_are_the_first_of_the_message_after_their_calls() {
    // Rule 27
    let turns = vec![user("q"), called(&["a", "b"]), user("hurry"), gave("b", "2"), gave("a", "1")];
    assert_eq!(outline(turns), ["user: q", "assistant: call a, call b", "user: result a, result b, hurry"]);
}

#[test]
fn a_result_that_comes_late_moves_to_its_call() {
    // Rule 27
    let turns = vec![user("q"), called(&["a"]), answered("wait"), user("well?"), gave("a", "1"), user("so?")];
    assert_eq!(outline(turns), ["user: q", "assistant: call a, wait", "user: result a, well?, so?"]);
    let turns = vec![user("q"), called(&["a"]), user("w"), answered("x"), gave("a", "1")];
    assert_eq!(outline(turns), ["user: q", "assistant: call a", "user: result a, w", "assistant: x"]);
}

#[test]
fn instructions_between_a_call_and_its_result_do_not_part_them() {
    let turns =
        vec![user("q"), called(&["a"]), Turn::new(Role::System, vec![Block::text("s")]), gave("a", "1")];
    let (body, lost) = write(&call_of(turns), "claude-opus-5");
    assert_eq!(body["messages"][2]["content"][0]["type"], "tool_result");
    assert_eq!(body["system"], json!([{"type": "text", "text": "s"}]));
    assert_eq!(lost, ["system.position"]);
}

#[test]
fn ids_that_are_used_again_belong_to_their_own_calls() {
    let turns = vec![user("q"), called(&["a"]), gave("a", "1"), called(&["a"]), gave("a", "2")];
    let (body, _) = write(&call_of(turns), "claude-opus-5");
    let text = |message: usize| body["messages"][message]["content"][0]["content"][0]["text"].as_str();
    assert_eq!((text(2), text(4)), (Some("1"), Some("2")));
}

#[test]
fn a_result_that_nobody_called_for_is_passed_on_for_the_api_to_judge() {
    let turns = vec![gave("a", "0"), called(&["a"]), gave("a", "1"), gave("a", "2")];
    let expected = ["user: result a", "assistant: call a", "user: result a, result a"];
    assert_eq!(outline(turns), expected);
}

#[test]
fn ids_hold_only_what_the_api_allows_on_both_sides() {
    let turns = vec![user("q"), called(&["functions.f:0"]), gave("functions.f:0", "1")];
    assert_eq!(outline(turns), ["user: q", "assistant: call functions_f_0", "user: result functions_f_0"]);
}

#[test]
fn pictures_stay_inside_results_and_errors_are_errors() {
    // Rule 27
    let picture = || {
        let source = Source::Inline { media_type: "image/png".into(), data: "aGk=".into() };
        Block::from(Content::Image(Image { source, detail: None }))
    };
    let given = |is_error| {
        let results = vec![result("a", vec![Block::text("x"), picture(), Block::text("")], is_error)];
        let call = call_of(vec![user("q"), called(&["a"]), Turn::new(Role::User, results)]);
        let (body, lost) = write(&call, "claude-opus-5");
        (body["messages"][2]["content"][0].clone(), lost)
    };
    let text = json!({"type": "text", "text": "x"});
    let image =
        json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}});
    let whole = json!({"type": "tool_result", "tool_use_id": "a", "content": [text, image]});
    assert_eq!(given(false), (whole, vec![]));
    let failed = json!({"type": "tool_result", "tool_use_id": "a", "content": [text], "is_error": true});
    assert_eq!(given(true), (failed, vec!["content.image".to_owned()]));
}

#[test]
fn a_result_that_says_nothing_is_one_without_content() {
    let results = vec![result("a", vec![Block::text("")], false)];
    let call = call_of(vec![user("q"), called(&["a"]), Turn::new(Role::User, results)]);
    let (body, _) = write(&call, "claude-opus-5");
    assert_eq!(body["messages"][2]["content"], json!([{"type": "tool_result", "tool_use_id": "a"}]));
}
