//! Replies that are held to a form, by a model that was never asked for it: what comes out is the form's doing.

use std::path::PathBuf;

use engine::{
    CallLimit, Constraint, Conversation, Ending, EngineConfig, Event, Events, FinishReason, Handle, Message,
    NewTokens, Prompt, Report, Request, Role, Sampling, SubmitError, Tool, ToolDemand,
};
use jiff::ZonedDateTime;
use serde_json::{Value, json};

const SEEDS: u64 = 50;

fn demo() -> Handle {
    demo_with(64 << 20)
}

fn demo_with(kv_cache_bytes: u64) -> Handle {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/demo");
    let config = EngineConfig { kv_cache_bytes, ..EngineConfig::default() };
    engine::start(&folder, config).expect("the demo model loads")
}

fn ask(constraint: Option<Constraint>, seed: u64) -> Request {
    let messages = vec![Message::new(Role::User, "Tell me about the gate.")];
    Request {
        prompt: Prompt::Conversation(Conversation { messages, ..Conversation::default() }),
        sampling: Sampling { temperature: 1.0, seed: Some(seed), ..Sampling::GREEDY },
        stop: Vec::new(),
        ending: Ending::default(),
        new_tokens: NewTokens::Reserved(160),
        constraint,
        report: Report::default(),
        now: ZonedDateTime::now(),
    }
}

/// A whole reply.
#[derive(Clone, Debug, Default, PartialEq)]
struct Reply {
    text: String,
    calls: Vec<(String, String)>,
    end: Option<FinishReason>,
}

async fn read(mut events: Events) -> Reply {
    let mut reply = Reply::default();
    while let Some(event) = events.next().await {
        match event {
            Event::Text(more) => reply.text.push_str(&more),
            Event::ToolCallBegin { name } => reply.calls.push((name, String::new())),
            Event::ToolArguments(more) => reply.calls.last_mut().expect("a call began").1.push_str(&more),
            Event::ToolCallEnd => {}
            Event::Finished { reason, .. } => reply.end = Some(reason),
            other => panic!("unexpected {other:?}"),
        }
    }
    reply
}

async fn answers(engine: &Handle, request: impl Fn(u64) -> Request) -> Vec<Reply> {
    let mut running = Vec::new();
    for seed in 0..SEEDS {
        running.push(engine.submit(request(seed)).await.expect("the request is taken"));
    }
    let mut replies = Vec::new();
    for events in running {
        replies.push(read(events).await);
    }
    replies
}

/// Every reply that is not cut holds; at least `whole` of them are not cut.
async fn check(engine: &Handle, constraint: Constraint, whole: usize, holds: impl Fn(&str) -> bool) {
    let replies = answers(engine, |seed| ask(Some(constraint.clone()), seed)).await;
    let mut complete = 0;
    for (seed, reply) in replies.iter().enumerate() {
        match reply.end {
            Some(FinishReason::Stop) => {
                assert!(holds(&reply.text), "seed {seed}: {:?} of {constraint:?}", reply.text);
                complete += 1;
            }
            Some(FinishReason::Length) => {}
            other => panic!("seed {seed}: {other:?}"),
        }
    }
    assert!(complete >= whole, "only {complete} are whole, the first is {:?}", replies[0]);
}

fn json_that(holds: impl Fn(&Value) -> bool) -> impl Fn(&str) -> bool {
    move |text| serde_json::from_str::<Value>(text).is_ok_and(|value| holds(&value))
}

#[tokio::test]
async fn a_json_object_is_one() {
    check(&demo(), Constraint::JsonObject, 5, json_that(Value::is_object)).await;
}

#[tokio::test]
async fn an_object_has_its_fields_and_no_others() {
    let schema = json!({
        "type": "object",
        "properties": {
            "kind": { "enum": ["gate", "door", "größe \"天\" 😀"] },
            "open": { "type": "boolean" },
            "size": { "type": "object", "properties": { "width": { "type": "integer", "minimum": 1, "maximum": 99 } },
                      "required": ["width"], "additionalProperties": false },
            "note": { "type": "string", "maxLength": 12 },
        },
        "required": ["kind", "open", "size"],
        "additionalProperties": false,
    });
    let holds = |value: &Value| {
        let width = value["size"]["width"].as_i64();
        let known = value.as_object().is_some_and(|fields| {
            fields.keys().all(|key| ["kind", "open", "size", "note"].contains(&key.as_str()))
        });
        let kind = ["gate", "door", "größe \"天\" 😀"].iter().any(|kind| value["kind"] == *kind);
        let note =
            value.get("note").is_none_or(|note| note.as_str().is_some_and(|note| note.chars().count() <= 12));
        known
            && kind
            && note
            && value["open"].is_boolean()
            && width.is_some_and(|width| (1..=99).contains(&width))
            && value["size"].as_object().is_some_and(|size| size.len() == 1)
    };
    check(&demo(), Constraint::JsonSchema(schema), 25, json_that(holds)).await;
}

#[tokio::test]
async fn arrays_and_numbers_keep_their_bounds() {
    let schema = json!({
        "type": "array", "minItems": 1, "maxItems": 3,
        "items": { "anyOf": [{ "type": "number", "minimum": -1.5, "maximum": 2.5 }, { "type": "null" }] },
    });
    let holds = |value: &Value| {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        (1..=3).contains(&items.len())
            && items
                .iter()
                .all(|item| item.is_null() || item.as_f64().is_some_and(|x| (-1.5..=2.5).contains(&x)))
    };
    check(&demo(), Constraint::JsonSchema(schema), 15, json_that(holds)).await;
}

#[tokio::test]
async fn strings_with_a_pattern_and_references_hold() {
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["a", "b"],
        "properties": { "a": { "$ref": "#/$defs/code" }, "b": { "const": "é\\\"\n" } },
        "$defs": { "code": { "type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$" } },
    });
    let holds = |value: &Value| {
        let code = value["a"].as_str().unwrap_or_default().as_bytes();
        value["b"] == "é\\\"\n"
            && code.len() == 6
            && code[..2].iter().all(u8::is_ascii_uppercase)
            && code[2] == b'-'
            && code[3..].iter().all(u8::is_ascii_digit)
    };
    check(&demo(), Constraint::JsonSchema(schema), 40, json_that(holds)).await;
}

#[tokio::test]
async fn a_regular_expression_matches_the_whole_reply() {
    let holds = |text: &str| {
        let (number, unit) = text.split_once(' ').unwrap_or_default();
        (1..=3).contains(&number.len())
            && number.bytes().all(|b| b.is_ascii_digit())
            && ["km", "天"].contains(&unit)
    };
    check(&demo(), Constraint::Regex("[0-9]{1,3} (km|天)".to_owned()), 50, holds).await;
}

#[tokio::test]
async fn a_grammar_may_name_a_special_token_as_text() {
    // The name of the end token, spelt; the token itself would end the reply.
    let grammar = "start: \"a<|im_end|>\" (\"b\" | \"c\")".to_owned();
    check(&demo(), Constraint::Lark(grammar), 50, |text| ["a<|im_end|>b", "a<|im_end|>c"].contains(&text))
        .await;
}

fn tools() -> Vec<Tool> {
    let tool = |name: &str, parameters| Tool { name: name.to_owned(), description: None, parameters };
    vec![
        tool(
            "weather",
            json!({ "type": "object", "properties": { "city": { "enum": ["Paris", "Bonn"] } },
                    "required": ["city"], "additionalProperties": false }),
        ),
        tool(
            "clock",
            json!({ "properties": { "zone": { "$ref": "#/$defs/zone" } }, "required": ["zone"],
                    "additionalProperties": false, "$defs": { "zone": { "type": "integer", "minimum": -11, "maximum": 14 } } }),
        ),
    ]
}

fn with_tools(demand: ToolDemand, calls: CallLimit, seed: u64) -> Request {
    let request = ask(Some(Constraint::Tools { demand, calls }), seed);
    let messages = vec![Message::new(Role::User, "Which time is it?")];
    Request {
        prompt: Prompt::Conversation(Conversation { messages, tools: tools(), ..Conversation::default() }),
        ..request
    }
}

fn is_valid((name, arguments): &(String, String)) -> bool {
    let arguments: Value = serde_json::from_str(arguments).expect("arguments are JSON");
    arguments.as_object().is_some_and(|fields| fields.len() == 1)
        && match name.as_str() {
            "weather" => arguments["city"] == "Paris" || arguments["city"] == "Bonn",
            "clock" => arguments["zone"].as_i64().is_some_and(|zone| (-11..=14).contains(&zone)),
            _ => false,
        }
}

#[tokio::test]
async fn a_named_tool_is_called_once_and_nothing_else_is_written() {
    let engine = demo();
    let named = |seed| with_tools(ToolDemand::Named("clock".to_owned()), CallLimit::One, seed);
    for (seed, reply) in answers(&engine, named).await.iter().enumerate() {
        assert_eq!(
            (reply.text.as_str(), reply.end),
            ("", Some(FinishReason::ToolCalls)),
            "seed {seed}: {reply:?}"
        );
        assert!(
            reply.calls.len() == 1 && reply.calls[0].0 == "clock" && is_valid(&reply.calls[0]),
            "{reply:?}"
        );
    }
    assert_eq!(engine.stats().constrained_requests, SEEDS);
}

#[tokio::test]
async fn required_tools_are_called_with_valid_arguments() {
    let required = |seed| with_tools(ToolDemand::Required, CallLimit::Any, seed);
    for (seed, reply) in answers(&demo(), required).await.iter().enumerate() {
        assert!(!reply.calls.is_empty() && reply.calls.iter().all(is_valid), "seed {seed}: {reply:?}");
        // A call that the limit of tokens cut is text.
        assert!(reply.text.is_empty() || reply.end == Some(FinishReason::Length), "seed {seed}: {reply:?}");
    }
}

#[tokio::test]
async fn a_free_reply_with_tools_has_valid_calls_or_none() {
    let auto = |seed| with_tools(ToolDemand::Auto, CallLimit::Any, seed);
    let replies = answers(&demo(), auto).await;
    for (seed, reply) in replies.iter().enumerate() {
        assert!(reply.calls.iter().all(is_valid), "seed {seed}: {reply:?}");
        assert!(
            reply.end == Some(FinishReason::Length) || !reply.text.contains("<tool_call>"),
            "seed {seed}: {reply:?}"
        );
    }
}

#[tokio::test]
async fn tools_that_cannot_be_held_to_are_called_freely_unless_a_call_is_demanded() {
    let engine = demo();
    let with_bad_tool = |demand| {
        let request = with_tools(demand, CallLimit::Any, 1);
        let messages = vec![Message::new(Role::User, "Which time is it?")];
        let tools =
            vec![Tool { name: "clock".to_owned(), description: None, parameters: json!({ "type": "king" }) }];
        Request {
            prompt: Prompt::Conversation(Conversation { messages, tools, ..Conversation::default() }),
            ..request
        }
    };
    let reply = read(engine.submit(with_bad_tool(ToolDemand::Auto)).await.expect("it is taken")).await;
    assert!(reply.end.is_some(), "{reply:?}");
    assert_eq!(engine.stats().constrained_requests, 0);
    let refused = engine.submit(with_bad_tool(ToolDemand::Required)).await.expect_err("it cannot be held");
    assert!(matches!(refused, SubmitError::Constraint(_)), "{refused}");
}

#[tokio::test]
async fn a_held_reply_that_is_preempted_is_the_one_it_is_alone() {
    let schema = json!({ "type": "array", "items": { "type": "integer" }, "minItems": 60 });
    let request = |seed| ask(Some(Constraint::JsonSchema(schema.clone())), seed);
    let roomy = demo();
    let mut alone = Vec::new();
    for seed in 0..12 {
        alone.push(read(roomy.submit(request(seed)).await.expect("it is taken")).await);
    }
    // 2 KiB of cache per token: room for three or four of these at full length.
    let tight = demo_with(768 << 10);
    let mut waiting = Vec::new();
    for seed in 0..12 {
        waiting.push(tight.submit(request(seed)).await.expect("it is taken"));
    }
    for (events, alone) in waiting.into_iter().zip(alone) {
        assert_eq!(read(events).await, alone);
    }
    assert!(tight.stats().preemptions > 0, "the cache was not small enough to preempt");
}

async fn refusal(constraint: Constraint) -> String {
    let refused = demo().submit(ask(Some(constraint), 0)).await.expect_err("it cannot be held");
    assert!(matches!(refused, SubmitError::Constraint(_)), "{refused}");
    refused.to_string()
}

#[tokio::test]
async fn what_cannot_be_held_is_refused_and_says_why() {
    for (constraint, expected) in [
        (Constraint::JsonSchema(json!({ "type": "colour" })), "the JSON schema cannot be held: "),
        (Constraint::JsonSchema(json!({ "$ref": "#/$defs/none" })), "the JSON schema cannot be held: "),
        (
            Constraint::JsonSchema(json!({ "$ref": "https://example.com/x" })),
            "the JSON schema cannot be held: ",
        ),
        (Constraint::Regex("(a".to_owned()), "the regular expression cannot be held: "),
        (Constraint::Regex("(?=a)b".to_owned()), "the regular expression cannot be held: "),
        (Constraint::Lark("start: nothing".to_owned()), "the grammar cannot be held: "),
        (
            Constraint::Tools { demand: ToolDemand::Required, calls: CallLimit::One },
            "a tool call is demanded and no tool is offered",
        ),
    ] {
        let text = refusal(constraint).await;
        assert!(text.starts_with(expected) && text.len() < 400, "{text}");
    }
}

#[tokio::test]
async fn held_and_free_replies_in_one_batch_are_those_they_are_alone() {
    let engine = demo();
    let object = || Some(Constraint::JsonObject);
    let requests = [
        ask(object(), 3),
        ask(None, 4),
        ask(Some(Constraint::Regex("[a-z ]{40}".to_owned())), 5),
        ask(object(), 6),
    ];
    let mut alone = Vec::new();
    for request in &requests {
        alone.push(read(engine.submit(request.clone()).await.expect("it is taken")).await);
    }
    let mut together = Vec::new();
    for request in requests {
        together.push(engine.submit(request).await.expect("it is taken"));
    }
    for (events, alone) in together.into_iter().zip(alone) {
        assert_eq!(read(events).await, alone);
    }
}
