//! What is written for the API can be read back, whatever was asked.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::json;
use wire::call::{
    Block, Call, Content, Effort, Format, Image, Role, Sampling, Source, Target, Thinking, Tool, ToolCall,
    ToolChoice, ToolKind, ToolResult, Turn,
};
use wire::openai::chat::{Server, write_call};
use wire::{AskUsage, Delivery, Dialect, Request, UsageChunk};

use crate::grammar::words;

fn text() -> impl Strategy<Value = Block> {
    words().prop_map(Block::text)
}

fn picture() -> impl Strategy<Value = Block> {
    let source = prop_oneof![
        Just(Source::Url("https://host/a.png".into())),
        Just(Source::Inline { media_type: "image/png".into(), data: "AA==".into() }),
    ];
    let detail = proptest::option::of(Just("low".to_owned()));
    (source, detail).prop_map(|(source, detail)| Content::Image(Image { source, detail }).into())
}

fn turn() -> impl Strategy<Value = Vec<Turn>> {
    let call = |(number, text): (u32, String)| {
        let arguments = json!({ "a": text }).to_string();
        ToolCall { id: format!("c{number}"), name: "add".into(), arguments }
    };
    let calls = proptest::collection::vec((any::<u32>(), words()).prop_map(call), 1..3);
    let said = proptest::option::of(text());
    let exchange = (said, calls, words()).prop_map(|(said, calls, result)| {
        let answer = |call: &ToolCall| {
            let content = vec![Block::text(result.clone())];
            let result = ToolResult { call_id: call.id.clone(), name: None, content, is_error: false };
            Turn::new(Role::User, vec![Content::ToolResult(result).into()])
        };
        let results: Vec<_> = calls.iter().map(answer).collect();
        let calls = calls.into_iter().map(|call| Content::ToolCall(call).into());
        let mut turns = vec![Turn::new(Role::Assistant, said.into_iter().chain(calls).collect())];
        turns.extend(results);
        turns
    });
    let name = proptest::option::of(Just("ann".to_owned()));
    prop_oneof![
        text().prop_map(|block| vec![Turn::new(Role::System, vec![block])]),
        (text(), name).prop_map(|(block, name)| vec![Turn { name, ..Turn::new(Role::User, vec![block]) }]),
        (text(), picture()).prop_map(|(text, picture)| vec![Turn::new(Role::User, vec![text, picture])]),
        text().prop_map(|block| vec![Turn::new(Role::Assistant, vec![block])]),
        words().prop_map(|words| vec![Turn::new(Role::Assistant, vec![Content::Refusal(words).into()])]),
        exchange,
    ]
}

fn tools() -> impl Strategy<Value = (Vec<Tool>, ToolChoice, Option<bool>)> {
    let description = || proptest::option::of(words());
    let function =
        (description(), proptest::option::of(any::<bool>())).prop_map(|(description, strict)| Tool {
            name: "add".into(),
            description,
            kind: ToolKind::Function { parameters: json!({ "type": "object", "properties": {} }), strict },
            cache: None,
        });
    let custom = description().prop_map(|description| Tool {
        name: "patch".into(),
        description,
        kind: ToolKind::Custom { format: None },
        cache: None,
    });
    let choice = prop_oneof![
        Just(ToolChoice::Auto),
        Just(ToolChoice::None),
        Just(ToolChoice::Required),
        Just(ToolChoice::Named("add".into())),
        Just(ToolChoice::Named("patch".into())),
    ];
    let offered = (function, custom, choice, proptest::option::of(any::<bool>()))
        .prop_map(|(function, custom, choice, parallel)| (vec![function, custom], choice, parallel));
    prop_oneof![Just((vec![], ToolChoice::Auto, None)), offered]
}

fn sampling() -> impl Strategy<Value = Sampling> {
    let share = || proptest::option::of((0..=8_u8).prop_map(|share| f64::from(share) / 8.0));
    (share(), share(), share(), share(), proptest::option::of(any::<i64>()), proptest::option::of(0..=20_u8))
        .prop_map(|(temperature, top_p, frequency_penalty, presence_penalty, seed, logprobs)| Sampling {
            temperature,
            top_p,
            frequency_penalty,
            presence_penalty,
            seed,
            logprobs,
            ..Sampling::default()
        })
}

fn format() -> impl Strategy<Value = Format> {
    let schema = (proptest::option::of(words()), proptest::option::of(any::<bool>())).prop_map(
        |(description, strict)| Format::JsonSchema {
            name: "s".into(),
            description,
            schema: json!({ "type": "object" }),
            strict,
        },
    );
    prop_oneof![Just(Format::Text), Just(Format::JsonObject), schema]
}

/// Calls that say nothing which the API has no place for.
fn calls() -> impl Strategy<Value = Call> {
    let turns = proptest::collection::vec(turn(), 1..5).prop_map(|turns| turns.concat());
    let limits = (
        proptest::option::of(1..=u32::MAX),
        proptest::collection::vec("[a-z]{1,3}", 0..3),
        proptest::option::of(2..=128_u32),
    );
    let efforts = proptest::sample::select(&Effort::ALL[..6]);
    let who =
        (any::<bool>(), proptest::option::of(Just("u1".to_owned())), proptest::option::of(any::<bool>()));
    (turns, tools(), sampling(), limits, format(), proptest::option::of(efforts), who).prop_map(
        |(turns, tooling, sampling, limits, format, effort, (stream, user, store))| Call {
            model: "m".into(),
            turns,
            tools: tooling.0,
            tool_choice: tooling.1,
            parallel_tools: tooling.2,
            sampling,
            max_tokens: limits.0,
            stop: limits.1,
            choices: limits.2,
            format,
            thinking: Thinking { effort, ..Thinking::default() },
            stream,
            user,
            store,
            ..Call::default()
        },
    )
}

const TARGET: Target<'_> = Target { provider: "cloud", model: "m" };

proptest! {
    // Rule 25
    #[test]
    fn what_is_written_for_the_api_itself_is_read_back_as_it_was(call in calls()) {
        let outgoing = write_call(&call, TARGET, Server::OpenAi).expect("nothing foreign is in it");
        prop_assert!(outgoing.lost.is_empty(), "{:?}", outgoing.lost);
        let request = Request::parse(Dialect::OpenAiChat, outgoing.body).expect("it is a request");
        let expected = if call.stream { Delivery::Stream(UsageChunk::Wanted) } else { Delivery::Whole };
        prop_assert_eq!(request.delivery, expected);
        prop_assert_eq!(request.tools, call.tools.len());
        let read = request.call().expect("it is a conversation");
        prop_assert!(read == call, "{:#?}\n{:#?}", read.turns, call.turns);
    }

    #[test]
    fn what_is_written_for_any_server_is_a_request(
        call in calls(),
        server in proptest::sample::select(&[
            Server::Vllm, Server::Sglang, Server::DeepSeek, Server::Mistral, Server::LlamaCpp, Server::Compatible,
        ][..]),
    ) {
        let outgoing = write_call(&call, TARGET, server).expect("every server reads this");
        let request = Request::parse(Dialect::OpenAiChat, outgoing.body).expect("it is a request");
        prop_assert!(server.accepts(request.fields()), "{:?}", request.fields().collect::<Vec<_>>());
        let read = request.call().expect("it is a conversation");
        prop_assert_eq!(read.turns.len(), call.turns.len());
        prop_assert_eq!(read.max_tokens, call.max_tokens);
        let ids = |call: &Call| -> Vec<bool> {
            let mut calls = std::collections::HashSet::new();
            let mut answered = Vec::new();
            for block in call.turns.iter().flat_map(|turn| &turn.blocks) {
                match &block.content {
                    Content::ToolCall(call) => { calls.insert(call.id.clone()); }
                    Content::ToolResult(result) => answered.push(calls.contains(&result.call_id)),
                    _ => {}
                }
            }
            answered
        };
        prop_assert_eq!(ids(&read), ids(&call), "each result still answers a call");
    }

    #[test]
    fn a_request_that_was_passed_on_is_read_the_same(call in calls()) {
        let body = write_call(&call, TARGET, Server::OpenAi).expect("nothing foreign is in it").body;
        let text = String::from_utf8(body.to_vec()).unwrap().replace(r#""stream_options":{"include_usage":true},"#, "");
        let request = Request::parse(Dialect::OpenAiChat, Bytes::from(text)).expect("it is a request");
        let passed = Request::parse(Dialect::OpenAiChat, request.forward_body("up", AskUsage::Always)).unwrap();
        let expected = if call.stream { Delivery::Stream(UsageChunk::Wanted) } else { Delivery::Whole };
        prop_assert_eq!(passed.delivery, expected);
        let mut read = passed.call().unwrap();
        prop_assert_eq!(std::mem::replace(&mut read.model, "m".into()), "up");
        prop_assert!(read == call);
    }
}
