//! One call as each server gets it: what differs, and what is lost.

use std::fmt::Write as _;

use serde_json::{Value, json};
use wire::call::{
    Block, Call, Content, Effort, Extra, Format, Image, Reasoning, Role, Sampling, Seal, Source, Target,
    Thinking, Tool, ToolCall, ToolChoice, ToolKind, ToolResult, Turn,
};
use wire::openai::chat::{Server, write_call};

const SERVERS: [Server; 8] = [
    Server::OpenAi,
    Server::Vllm,
    Server::Sglang,
    Server::Ollama,
    Server::DeepSeek,
    Server::Mistral,
    Server::LlamaCpp,
    Server::Compatible,
];

const TARGET: Target<'_> = Target { provider: "cloud", model: "up" };

fn written(call: &Call, server: Server) -> (Value, Vec<String>) {
    let outgoing = write_call(call, TARGET, server).unwrap_or_else(|error| panic!("{server:?}: {error}"));
    let body = serde_json::from_slice(&outgoing.body).expect("bodies are JSON");
    (body, outgoing.lost.names().map(str::to_owned).collect())
}

fn user(text: &str) -> Turn {
    Turn::new(Role::User, vec![Block::text(text)])
}

fn function(name: &str) -> Tool {
    let kind = ToolKind::Function { parameters: json!({ "type": "object" }), strict: Some(true) };
    Tool { name: name.into(), description: Some("adds".into()), kind, cache: None }
}

/// Every setting that a call may have.
fn everything() -> Call {
    let hosted = ToolKind::Hosted { kind: "web_search".into(), json: r#"{"type":"web_search"}"#.into() };
    let custom = ToolKind::Custom { format: Some(r#"{"type":"text"}"#.into()) };
    let tool = |name: &str, kind| Tool { name: name.into(), description: None, kind, cache: None };
    Call {
        model: "m".into(),
        turns: vec![user("hi")],
        tools: vec![function("add"), tool("patch", custom), tool("web_search", hosted)],
        tool_choice: ToolChoice::Required,
        parallel_tools: Some(false),
        sampling: Sampling {
            temperature: Some(0.5),
            top_p: Some(0.9),
            top_k: Some(40),
            min_p: Some(0.1),
            frequency_penalty: Some(0.25),
            presence_penalty: Some(-0.25),
            seed: Some(7),
            logprobs: Some(2),
        },
        max_tokens: Some(64),
        stop: vec!["END".into()],
        choices: Some(2),
        format: Format::JsonSchema {
            name: "answer".into(),
            description: None,
            schema: json!({ "type": "object" }),
            strict: Some(true),
        },
        thinking: Thinking { effort: Some(Effort::Max), summary: Some("auto".into()), ..Thinking::default() },
        stream: true,
        user: Some("u1".into()),
        store: Some(false),
        extras: vec![Extra { name: "logit_bias".into(), json: "{}".into() }],
        ..Call::default()
    }
}

// Rules 25 and 26
#[test]
fn each_server_gets_what_it_knows_and_the_rest_is_reported() {
    let mut out = String::new();
    for server in SERVERS {
        let (Value::Object(mut body), lost) = written(&everything(), server) else { panic!("an object") };
        body.remove("messages");
        writeln!(out, "{server:?}").unwrap();
        for (name, value) in body {
            writeln!(out, "  {name}: {value}").unwrap();
        }
        writeln!(out, "  lost: {}\n", lost.join(", ")).unwrap();
    }
    insta::assert_snapshot!(out);
}

/// Everything that a history may hold.
fn history() -> Call {
    let thought = |text: &str, is_redacted| {
        let seal = Some(Seal::of("cloud", "c2ln"));
        Block::from(Content::Reasoning(Reasoning { text: text.into(), seal, is_redacted }))
    };
    let called = |id: &str, name: &str, arguments: &str| {
        let (id, name, arguments) = (id.into(), name.into(), arguments.into());
        Block::from(Content::ToolCall(ToolCall { id, name, arguments }))
    };
    let result = |id: &str, content: Vec<Block>, is_error| {
        Block::from(Content::ToolResult(ToolResult { call_id: id.into(), name: None, content, is_error }))
    };
    let picture = || {
        let source = Source::Inline { media_type: "image/png".into(), data: "AA==".into() };
        Block::from(Content::Image(Image { source, detail: Some("low".into()) }))
    };
    let custom = ToolKind::Custom { format: None };
    let named = Turn { name: Some("ann".into()), ..user("hi") };
    Call {
        tools: vec![
            function("add"),
            Tool { name: "patch".into(), description: None, kind: custom, cache: None },
        ],
        turns: vec![
            Turn::new(Role::System, vec![Block::text("be"), Block::text("brief")]),
            named,
            user("again"),
            Turn::new(
                Role::Assistant,
                vec![
                    thought("hm", false),
                    thought("", true),
                    called("toolu_01ABCDEF", "add", r#"{"a":1}"#),
                    called("toolu_02ABCDEF", "patch", "*** Begin"),
                    called("abcdef123", "add", ""),
                ],
            ),
            Turn::new(Role::User, vec![result("toolu_01ABCDEF", vec![Block::text("2"), picture()], false)]),
            Turn::new(Role::User, vec![result("toolu_02ABCDEF", vec![Block::text("no")], true)]),
            Turn::new(Role::User, vec![Block::text("go on"), result("abcdef123", vec![], false), picture()]),
            Turn::new(Role::System, vec![Block::text("a reminder")]),
            Turn::new(Role::Assistant, vec![Content::Refusal("I will not.".into()).into()]),
            Turn::new(Role::User, vec![]),
            Turn::new(Role::Assistant, vec![]),
        ],
        ..everything()
    }
}

// Rule 27, complaint 17
#[test]
fn each_server_gets_the_history_in_its_own_form() {
    let mut out = String::new();
    let mut seen: Vec<(Vec<String>, Vec<Server>)> = Vec::new();
    for server in SERVERS {
        let (body, _) = written(&history(), server);
        let messages = body["messages"].as_array().expect("messages").iter().map(Value::to_string).collect();
        match seen.iter_mut().find(|(same, _)| *same == messages) {
            Some((_, servers)) => servers.push(server),
            None => seen.push((messages, vec![server])),
        }
    }
    for (messages, servers) in seen {
        writeln!(out, "{servers:?}\n  {}\n", messages.join("\n  ")).unwrap();
    }
    insta::assert_snapshot!(out);
}

#[test]
fn a_demand_that_a_server_does_not_understand_is_made_by_what_is_on_offer() {
    let call =
        |tool_choice| Call { tools: vec![function("add"), function("sub")], tool_choice, ..everything() };
    let named = call(ToolChoice::Named("sub".into()));
    let shown = |(body, lost): (Value, Vec<String>)| {
        let names: Vec<_> =
            body["tools"].as_array().into_iter().flatten().map(|tool| &tool["function"]["name"]).collect();
        format!("{names:?} {} {}", body["tool_choice"], lost.contains(&"tool_choice".to_owned()))
    };
    let openai = shown(written(&named, Server::OpenAi));
    assert_eq!(
        openai,
        r#"[String("add"), String("sub")] {"type":"function","function":{"name":"sub"}} false"#
    );
    assert_eq!(shown(written(&named, Server::LlamaCpp)), r#"[String("sub")] "required" false"#);
    assert_eq!(shown(written(&named, Server::Ollama)), r#"[String("add"), String("sub")] null true"#);
    let none = call(ToolChoice::None);
    assert_eq!(shown(written(&none, Server::LlamaCpp)), r#"[String("add"), String("sub")] "none" false"#);
    assert_eq!(shown(written(&none, Server::Ollama)), "[] null false");
}

#[test]
fn thinking_is_switched_off_where_there_is_a_switch() {
    let call = Call { thinking: Thinking { enabled: Some(false), ..Thinking::default() }, ..everything() };
    assert_eq!(written(&call, Server::DeepSeek).0["thinking"], json!({ "type": "disabled" }));
    assert_eq!(written(&call, Server::OpenAi).0["reasoning_effort"], "none");
    let call =
        Call { thinking: Thinking { budget_tokens: Some(9000), ..Thinking::default() }, ..everything() };
    assert_eq!(written(&call, Server::OpenAi).0["reasoning_effort"], "high");
    assert!(written(&call, Server::Mistral).1.contains(&"reasoning_effort".to_owned()));
}

#[test]
fn what_would_change_the_question_is_refused() {
    let picture = |source| Content::Image(Image { source, detail: None });
    let document = |source| Content::Document(wire::call::Document { source, name: None });
    let inline = || Source::Inline { media_type: "application/pdf".into(), data: "AA==".into() };
    let asked = |content: Content, server| {
        let call = Call { turns: vec![Turn::new(Role::User, vec![content.into()])], ..Call::default() };
        write_call(&call, TARGET, server).map(|_| ()).map_err(|error| error.param)
    };
    let linked = || Source::Url("https://host/a.png".into());
    assert_eq!(asked(picture(linked()), Server::OpenAi), Ok(()));
    assert_eq!(asked(picture(linked()), Server::Ollama), Err("messages".into()));
    assert_eq!(asked(picture(Source::Stored("file-1".into())), Server::OpenAi), Err("messages".into()));
    assert_eq!(asked(document(inline()), Server::OpenAi), Ok(()));
    assert_eq!(asked(document(inline()), Server::Vllm), Err("messages".into()));
    assert_eq!(asked(document(linked()), Server::OpenAi), Err("messages".into()));
}

#[test]
fn a_body_with_a_field_that_the_server_does_not_take_is_not_passed_on() {
    let accepts = |server: Server, fields: &[&str]| server.accepts(fields.iter().copied());
    assert!(accepts(Server::OpenAi, &["max_completion_tokens", "store", "x_new"]));
    assert!(accepts(Server::Vllm, &["max_completion_tokens"]));
    for server in [Server::Ollama, Server::DeepSeek, Server::Mistral] {
        assert!(!accepts(server, &["model", "max_completion_tokens"]), "{server:?}");
        assert!(accepts(server, &["model", "messages", "max_tokens", "stream"]), "{server:?}");
    }
    assert!(!accepts(Server::Mistral, &["stream_options"]) && !Server::Mistral.takes_stream_options());
    assert!(Server::Ollama.takes_stream_options());
}
