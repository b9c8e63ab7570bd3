//! What holds of every request that is read, and of every one that is written.

use proptest::prelude::*;
use serde_json::Value;
use wire::anthropic::messages::{Host, read_call, write_call};
use wire::call::{Block, Call, Content, Reasoning, Role, Seal, Target, Thinking, ToolCall, ToolResult, Turn};
use wire::json::{Limits, check};

/// One thing that is said; a call is answered `late` turns later, if at all.
#[derive(Debug, Clone)]
enum Said {
    Text(Role, &'static str),
    Thought(Option<&'static str>),
    Called { late: usize },
    Unasked,
}

fn said() -> impl Strategy<Value = Said> {
    let role = prop_oneof![Just(Role::System), Just(Role::User), Just(Role::Assistant)];
    let text = prop_oneof![Just(""), Just(" \n"), Just("a"), Just("b ")];
    prop_oneof![
        3 => (role, text).prop_map(|(role, text)| Said::Text(role, text)),
        1 => prop_oneof![Just(None), Just(Some("cloud")), Just(Some("other"))].prop_map(Said::Thought),
        2 => (0..4_usize).prop_map(|late| Said::Called { late }),
        1 => Just(Said::Unasked),
    ]
}

/// Makes turns of what is said, one for each, with the results of calls where they are due.
fn turns(said: &[Said]) -> Vec<Turn> {
    let result = |id: String| {
        let result = ToolResult { call_id: id, name: None, content: vec![Block::text("r")], is_error: false };
        Turn::new(Role::User, vec![Content::ToolResult(result).into()])
    };
    let mut turns = vec![Turn::new(Role::User, vec![Block::text("q")])];
    let mut due: Vec<(usize, String)> = Vec::new();
    for (at, said) in said.iter().enumerate() {
        turns.push(match said {
            Said::Text(role, text) => Turn::new(*role, vec![Block::text(*text)]),
            Said::Thought(issuer) => {
                let seal = issuer.map(|issuer| Seal::of(issuer, "c2ln"));
                let reasoning = Reasoning { text: "hm".into(), seal, is_redacted: false };
                Turn::new(Role::Assistant, vec![Content::Reasoning(reasoning).into()])
            }
            Said::Called { late } => {
                let id = format!("call.{at}");
                due.push((at + late, id.clone()));
                let call = ToolCall { id, name: "f".into(), arguments: String::new() };
                Turn::new(Role::Assistant, vec![Content::ToolCall(call).into()])
            }
            Said::Unasked => result(format!("unasked{at}")),
        });
        let (now, later) = due.into_iter().partition(|(turn, _)| *turn <= at);
        due = later;
        let now: Vec<(usize, String)> = now;
        turns.extend(now.into_iter().map(|(_, id)| result(id)));
    }
    turns.extend(due.into_iter().map(|(_, id)| result(id)));
    turns
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// The ids under `name` of all blocks of the type `kind` in a message.
fn ids<'a>(message: &'a Value, kind: &str, name: &str) -> Vec<&'a str> {
    let blocks = list(message, "content").iter().filter(|block| block["type"] == kind);
    blocks.filter_map(|block| block[name].as_str()).collect()
}

proptest! {
    // Rule 27
    #[test]
    fn whatever_was_said_the_api_gets_a_conversation_that_it_accepts(
        said in proptest::collection::vec(said(), 0..12),
        budget in proptest::option::of(2000..9000_u32),
    ) {
        let thinking = Thinking { budget_tokens: budget, ..Thinking::default() };
        let call = Call { model: "m".into(), turns: turns(&said), thinking, ..Call::default() };
        let target = Target { provider: "cloud", model: "claude-sonnet-4-5" };
        let outgoing = write_call(&call, target, Host::Direct).expect("there is a question");
        let body: Value = serde_json::from_slice(&outgoing.body).expect("the body is JSON");
        let messages = list(&body, "messages");
        prop_assert_eq!(&messages[0]["role"], "user");
        for (index, message) in messages.iter().enumerate() {
            prop_assert!(!list(message, "content").is_empty());
            let next = messages.get(index + 1);
            prop_assert!(next.is_none_or(|next| next["role"] != message["role"]), "{}", body);
            let calls = ids(message, "tool_use", "id");
            let results = next.map(|next| ids(next, "tool_result", "tool_use_id")).unwrap_or_default();
            prop_assert!(results.starts_with(&calls), "{}", body);
            let first = next.map_or(&[][..], |next| list(next, "content")).iter().take(calls.len());
            prop_assert!(first.clone().all(|block| block["type"] == "tool_result"), "{}", body);
        }
        for block in messages.iter().flat_map(|message| list(message, "content")).chain(list(&body, "system")) {
            prop_assert!(block["text"].as_str().is_none_or(|text| !text.trim().is_empty()));
            prop_assert!(block["id"].as_str().is_none_or(|id| !id.contains('.')));
        }
        if let [.., last] = messages && last["role"] == "assistant" {
            let text = list(last, "content").last().and_then(|block| block["text"].as_str());
            prop_assert!(text.is_none_or(|text| !text.ends_with(char::is_whitespace)));
        }
    }

    #[test]
    fn a_damaged_request_is_refused_or_read(
        at in any::<prop::sample::Index>(),
        length in 0..12_usize,
        patch in r#"[\[\]{}",:a1 ]{0,6}"#,
    ) {
        const BODY: &str = r#"{"model":"m","max_tokens":9,"system":[{"type":"text","text":"s"}],
            "messages":[{"role":"user","content":[{"type":"image","source":{"type":"url","url":"u"}}]},
              {"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}}]},
              {"role":"user","content":[{"type":"tool_result","tool_use_id":"a","content":"é"}]}],
            "tools":[{"name":"f","input_schema":{}}],"tool_choice":{"type":"any"},
            "thinking":{"type":"enabled","budget_tokens":2000},"output_config":{"effort":"low"}}"#;
        let mut body = BODY.as_bytes().to_vec();
        let start = at.index(body.len());
        let end = (start + length).min(body.len());
        body.splice(start..end, patch.bytes());
        if check(&body, Limits::default()).is_ok() && let Ok(call) = read_call(&body) {
            let target = Target { provider: "cloud", model: "claude-opus-5" };
            if let Ok(outgoing) = write_call(&call, target, Host::Direct) {
                prop_assert!(serde_json::from_slice::<Value>(&outgoing.body).is_ok());
            }
        }
    }
}
