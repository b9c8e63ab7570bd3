//! Tool calls as servers stream them: numbered, misnumbered, interleaved, without ids, late names, no arguments.

use std::fmt::Write as _;

use proptest::prelude::*;
use serde_json::{Value, json};
use wire::openai::chat::{Reader, read_reply};
use wire::reply::{Delta, Finish, FinishReason, Open};

use crate::grammar;
use crate::support::{assembled, event, read};

/// What a stream of these `tool_calls` gives, with all that it says put together.
fn calls(fragments: &[Value]) -> Vec<Delta> {
    deltas(fragments.iter().map(|fragment| json!({ "tool_calls": [fragment] })))
}

fn deltas(deltas: impl IntoIterator<Item = Value>) -> Vec<Delta> {
    let chunk = |delta: Value| json!({ "id": "r1", "choices": [{ "index": 0, "delta": delta }] });
    let mut events: Vec<_> = deltas.into_iter().map(|delta| event(&chunk(delta).to_string())).collect();
    events.push(event(r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#));
    events.push(event("[DONE]"));
    let (deltas, outcome) = read(Reader::new(), &events);
    assert_eq!(outcome, Ok(()));
    grammar::check(&deltas);
    assert!(grammar::is_whole(&deltas));
    deltas
}

fn shown(deltas: &[Delta]) -> String {
    grammar::joined(deltas).iter().fold(String::new(), |mut out, delta| {
        let _ = match delta {
            Delta::Open(Open::ToolCall { id, name }) => write!(out, "{id} {name}("),
            Delta::Open(open) => write!(out, "{open:?}("),
            Delta::Append(text) => write!(out, "{text}"),
            Delta::Close => write!(out, ") "),
            Delta::Finish(Finish { reason, .. }) => write!(out, "{}", reason.as_str()),
            _ => Ok(()),
        };
        out
    })
}

#[track_caller]
fn check(fragments: &[Value], expected: &str) {
    assert_eq!(shown(&calls(fragments)), expected);
}

// Rule 8
#[test]
fn numbered_parallel_calls_keep_their_order_and_ids() {
    check(
        &[
            json!({ "index": 0, "id": "a", "type": "function", "function": { "name": "f", "arguments": "" } }),
            json!({ "index": 0, "function": { "arguments": "{\"x\":" } }),
            json!({ "index": 0, "function": { "arguments": "1}" } }),
            json!({ "index": 1, "id": "b", "type": "function", "function": { "name": "g", "arguments": "{}" } }),
        ],
        r#"a f({"x":1}) b g({}) tool_calls"#,
    );
}

// Rule 8
#[test]
fn without_numbers_a_new_id_begins_a_call_and_no_id_continues_the_last() {
    check(
        &[
            json!({ "id": "a", "function": { "name": "f", "arguments": "{\"x\"" } }),
            json!({ "function": { "arguments": ":1}" } }),
            json!({ "id": "b", "function": { "name": "f", "arguments": "{\"x\"" } }),
            json!({ "id": "", "function": { "name": null, "arguments": ":2}" } }),
        ],
        r#"a f({"x":1}) b f({"x":2}) tool_calls"#,
    );
    check(
        &[
            json!({ "index": null, "id": "a", "function": { "name": "f", "arguments": "{" } }),
            json!({ "index": null, "id": "a", "function": { "name": "f", "arguments": "}" } }),
        ],
        "a f({}) tool_calls",
    );
}

// Complaint 16
#[test]
fn calls_that_are_all_numbered_zero_are_told_apart_by_their_ids() {
    check(
        &[
            json!({ "index": 0, "id": "a", "function": { "name": "f", "arguments": "{\"x\":1}" } }),
            json!({ "index": 0, "id": "b", "function": { "name": "f", "arguments": "{\"x\"" } }),
            json!({ "index": 0, "function": { "arguments": ":2}" } }),
            json!({ "index": 0, "id": "c", "function": { "name": "g", "arguments": "{}" } }),
        ],
        r#"a f({"x":1}) b f({"x":2}) c g({}) tool_calls"#,
    );
}

// Complaint 16
#[test]
fn several_calls_in_one_chunk_stay_several() {
    let both = json!({ "tool_calls": [
        { "id": "a", "function": { "name": "f", "arguments": "{}" } },
        { "id": "b", "function": { "name": "g", "arguments": "{}" } },
    ] });
    assert_eq!(shown(&deltas([both])), "a f({}) b g({}) tool_calls");
}

#[test]
fn a_server_that_renames_the_id_of_each_fragment_continues_its_call() {
    check(
        &[
            json!({ "index": 0, "id": "a", "function": { "name": "f", "arguments": "{\"x\"" } }),
            json!({ "index": 0, "id": "b", "function": { "arguments": ":1}" } }),
            json!({ "index": 0, "id": "c", "function": { "name": "", "arguments": " " } }),
        ],
        r#"a f({"x":1} ) tool_calls"#,
    );
}

// Rule 8
#[test]
fn interleaved_fragments_become_one_call_after_the_other() {
    check(
        &[
            json!({ "index": 0, "id": "a", "function": { "name": "f", "arguments": "" } }),
            json!({ "index": 1, "id": "b", "function": { "name": "g", "arguments": "" } }),
            json!({ "index": 1, "function": { "arguments": "{\"y\":[" } }),
            json!({ "index": 0, "function": { "arguments": "{\"x\":\"}\"" } }),
            json!({ "index": 1, "function": { "arguments": "1]}" } }),
            json!({ "index": 0, "function": { "arguments": "}" } }),
        ],
        r#"a f({"x":"}"}) b g({"y":[1]}) tool_calls"#,
    );
}

#[test]
fn ids_that_are_missing_or_used_twice_are_made() {
    check(
        &[
            json!({ "index": 0, "function": { "name": "f", "arguments": "{}" } }),
            json!({ "index": 1, "id": "same", "function": { "name": "f", "arguments": "{}" } }),
            json!({ "index": 2, "id": "same", "function": { "name": "f", "arguments": "{}" } }),
        ],
        "call_r1_0 f({}) same f({}) call_r1_2 f({}) tool_calls",
    );
}

#[test]
fn a_name_may_come_after_the_arguments_began() {
    check(
        &[
            json!({ "index": 0, "id": "a", "function": { "arguments": "{\"x\"" } }),
            json!({ "index": 0, "function": { "name": "f" } }),
            json!({ "index": 0, "function": { "name": "f", "arguments": ":1}" } }),
        ],
        r#"a f({"x":1}) tool_calls"#,
    );
}

#[test]
fn a_call_that_never_gets_a_name_is_none() {
    check(&[json!({ "index": 0, "id": "a", "function": { "arguments": "{}" } })], "stop");
}

// Complaint 17
#[test]
fn a_call_may_have_no_arguments() {
    check(
        &[
            json!({ "index": 0, "id": "a", "function": { "name": "f", "arguments": "" } }),
            json!({ "index": 1, "id": "b", "function": { "name": "g" } }),
            json!({ "index": 2, "id": "c", "function": { "name": "h", "arguments": null } }),
        ],
        "a f() b g() c h() tool_calls",
    );
}

#[test]
fn arguments_that_came_as_an_object_become_text() {
    check(
        &[json!({ "index": 0, "id": "a", "function": { "name": "f", "arguments": { "x": [1] } } })],
        r#"a f({"x":[1]}) tool_calls"#,
    );
}

#[test]
fn a_custom_call_keeps_its_text() {
    check(
        &[
            json!({ "index": 0, "id": "a", "type": "custom", "custom": { "name": "patch", "input": "*** Be" } }),
            json!({ "index": 0, "custom": { "input": "gin" } }),
        ],
        "a patch(*** Begin) tool_calls",
    );
}

#[test]
fn the_retired_form_has_one_call() {
    let fragments = [
        json!({ "function_call": { "name": "f", "arguments": "{\"x\"" } }),
        json!({ "function_call": { "arguments": ":1}" } }),
    ];
    assert_eq!(shown(&deltas(fragments)), r#"call_r1_0 f({"x":1}) tool_calls"#);
}

#[test]
fn text_before_between_and_after_calls_stays_where_it_was() {
    let call =
        |id: &str| json!({ "tool_calls": [{ "id": id, "function": { "name": "f", "arguments": "{}" } }] });
    let stream = [
        json!({ "content": "I " }),
        call("a"),
        json!({ "content": "and" }),
        call("b"),
        json!({ "content": "!" }),
    ];
    assert_eq!(shown(&deltas(stream)), "Text(I ) a f({}) Text(and) b f({}) Text(!) tool_calls");
}

/// Such text is mostly a stray line end; closing the call for it would leave it half of its arguments.
#[test]
fn text_inside_a_call_waits_until_the_call_is_whole() {
    let fragment =
        |arguments: &str| json!({ "tool_calls": [{ "index": 0, "function": { "arguments": arguments } }] });
    let begin = json!({ "tool_calls": [{ "index": 0, "id": "a", "function": { "name": "f", "arguments": "{\"x\"" } }] });
    let stream =
        [begin, json!({ "content": "\n" }), fragment(":1"), json!({ "content": "so" }), fragment("}")];
    assert_eq!(shown(&deltas(stream)), "a f({\"x\":1}) Text(\nso) tool_calls");
}

#[test]
fn a_whole_answer_needs_neither_numbers_nor_ids() {
    let body = json!({ "id": "r1", "choices": [{ "index": 0, "finish_reason": "stop", "message": {
        "role": "assistant", "content": null,
        "tool_calls": [
            { "type": "function", "function": { "name": "f", "arguments": "{}" } },
            { "type": "function", "function": { "name": "f", "arguments": { "x": 1 } } },
            { "id": "c", "type": "custom", "custom": { "name": "g", "input": "text" } },
        ],
    } }] });
    let reply = read_reply(body.to_string().as_bytes()).unwrap();
    assert_eq!(reply.finish.reason, FinishReason::ToolCalls);
    let deltas = wire::reply::deltas_of(reply);
    assert_eq!(shown(&deltas), r#"call_r1_0 f({}) call_r1_1 f({"x":1}) c g(text) tool_calls"#);
}

/// One call: its name, and its arguments in pieces.
fn call() -> impl Strategy<Value = (String, Vec<String>)> {
    let arguments = grammar::words().prop_map(|text| json!({ "a": [text, { "b": 1 }] }).to_string());
    ("[a-z]{1,6}", arguments, proptest::collection::vec(any::<prop::sample::Index>(), 0..4)).prop_map(
        |(name, arguments, at)| {
            let mut at: Vec<usize> = at.iter().map(|at| at.index(arguments.len() + 1)).collect();
            at.retain(|at| arguments.is_char_boundary(*at));
            at.extend([0, arguments.len()]);
            at.sort_unstable();
            (name, at.windows(2).map(|pair| arguments[pair[0]..pair[1]].to_owned()).collect())
        },
    )
}

proptest! {
    /// However the fragments of numbered calls are mixed, each call comes whole, in the order in which they began.
    #[test]
    fn calls_come_whole_in_any_mixture(
        calls in proptest::collection::vec(call(), 1..4),
        picks in proptest::collection::vec(any::<prop::sample::Index>(), 0..24),
    ) {
        let mut left: Vec<Vec<String>> = calls.iter().map(|(_, pieces)| pieces.clone()).collect();
        let begin = |(index, (name, _)): (usize, &(String, Vec<String>))| {
            json!({ "index": index, "id": format!("id{index}"), "function": { "name": name, "arguments": "" } })
        };
        let mut fragments: Vec<Value> = calls.iter().enumerate().map(begin).collect();
        for pick in picks.iter().map(Some).chain(std::iter::repeat(None)) {
            let open: Vec<usize> = (0..left.len()).filter(|index| !left[*index].is_empty()).collect();
            if open.is_empty() {
                break;
            }
            let index = open[pick.map_or(0, |pick| pick.index(open.len()))];
            let piece = left[index].remove(0);
            fragments.push(json!({ "index": index, "function": { "arguments": piece } }));
        }
        let read = deltas(fragments.into_iter().map(|fragment| json!({ "tool_calls": [fragment] })));
        let blocks = assembled(&read).blocks;
        let read: Vec<(String, String)> = blocks
            .into_iter()
            .map(|block| match block.content {
                wire::call::Content::ToolCall(call) => (call.name, call.arguments),
                other => panic!("{other:?}"),
            })
            .collect();
        let asked: Vec<_> = calls.into_iter().map(|(name, pieces)| (name, pieces.concat())).collect();
        prop_assert_eq!(read, asked);
    }
}
