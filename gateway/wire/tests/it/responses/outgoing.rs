//! Calls of other dialects, written as requests of this API.

use serde_json::{Value, json};
use wire::call::{
    Block, CacheMark, Call, Content, Document, Effort, Extra, Format, Image, Reasoning, Role, Seal, Source,
    Target, Thinking, Tool, ToolCall, ToolChoice, ToolKind, ToolResult, Turn,
};
use wire::openai::responses::{Host, write_call};

const TARGET: Target<'static> = Target { provider: "cloud", model: "their-model" };

fn turn(role: Role, blocks: Vec<Content>) -> Turn {
    Turn::new(role, blocks.into_iter().map(Block::from).collect())
}

fn said(role: Role, text: &str) -> Turn {
    turn(role, vec![Content::Text(text.into())])
}

fn of_turns(turns: Vec<Turn>) -> Call {
    Call { model: "m".into(), turns, ..Call::default() }
}

fn tool(name: &str, kind: ToolKind) -> Tool {
    Tool { name: name.into(), description: None, kind, cache: None }
}

fn function(name: &str, parameters: Value) -> Tool {
    tool(name, ToolKind::Function { parameters, strict: None })
}

fn tool_call(id: &str, name: &str, arguments: &str) -> Content {
    Content::ToolCall(ToolCall { id: id.into(), name: name.into(), arguments: arguments.into() })
}

fn result(id: &str, content: Vec<Content>) -> Content {
    let content = content.into_iter().map(Block::from).collect();
    Content::ToolResult(ToolResult { call_id: id.into(), name: None, content, is_error: false })
}

fn to(call: &Call, host: Host) -> (Value, Vec<String>) {
    let outgoing = write_call(call, TARGET, host).expect("the call is translatable");
    let lost = outgoing.lost.names().map(str::to_owned).collect();
    (serde_json::from_slice(&outgoing.body).expect("bodies are JSON"), lost)
}

fn written(call: &Call) -> (Value, Vec<String>) {
    to(call, Host::OpenAi)
}

fn pretty(call: &Call) -> String {
    let (body, lost) = written(call);
    format!("{}\nlost: {lost:?}", serde_json::to_string_pretty(&body).expect("a value is JSON"))
}

#[test]
fn a_text_goes_out_with_its_instructions_and_is_not_stored() {
    let call = of_turns(vec![
        said(Role::System, "be short"),
        said(Role::System, "be kind"),
        said(Role::User, "hi"),
        said(Role::Assistant, "hello"),
        said(Role::System, "now be long"),
        said(Role::User, "go on"),
    ]);
    insta::assert_snapshot!(pretty(&call));
    // Templates of open models refuse instructions behind other turns.
    assert_eq!(to(&call, Host::Compatible).0["input"][2]["role"], "user");
}

#[test]
fn parallel_calls_keep_their_ids_and_pictures_in_results_stay() {
    let image = |source| Content::Image(Image { source, detail: None });
    let inline = Source::Inline { media_type: "image/png".into(), data: "iVBO".into() };
    let mut call = of_turns(vec![
        turn(
            Role::User,
            vec![Content::Text("look".into()), image(Source::Url("https://host.example/a".into()))],
        ),
        turn(
            Role::Assistant,
            vec![
                Content::Text("I look.".into()),
                tool_call("a", "read", ""),
                tool_call("b", "read", r#"{"path":"x"}"#),
                tool_call("c", "patch", "*** Begin"),
            ],
        ),
        turn(
            Role::User,
            vec![
                result("a", vec![Content::Text("text".into())]),
                result("b", vec![Content::Text("see".into()), image(inline)]),
                result("c", vec![]),
                Content::Text("and now?".into()),
            ],
        ),
    ]);
    call.tools = vec![function("read", json!({})), tool("patch", ToolKind::Custom { format: None })];
    insta::assert_snapshot!(pretty(&call));
}

#[test]
fn a_document_is_sent_with_a_name() {
    let document =
        |source, name: Option<&str>| Content::Document(Document { source, name: name.map(str::to_owned) });
    let inline = Source::Inline { media_type: "application/pdf".into(), data: "JVBE".into() };
    let (body, lost) = written(&of_turns(vec![turn(
        Role::User,
        vec![
            document(inline.clone(), None),
            document(inline, Some("a.pdf")),
            document(Source::Url("https://host.example/a.pdf".into()), Some("a.pdf")),
            document(Source::Stored("file-1".into()), None),
            document(Source::Stored("file_011".into()), None),
            Content::Audio { format: "wav".into(), data: "UklG".into() },
        ],
    )]));
    assert_eq!(
        body["input"][0]["content"],
        json!([
            { "type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBE" },
            { "type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE" },
            { "type": "input_file", "file_url": "https://host.example/a.pdf" },
            { "type": "input_file", "file_id": "file-1" },
        ])
    );
    assert_eq!(lost, ["content.audio", "content.document"]);
}

// Rule 30, complaint 21
#[test]
fn a_seal_goes_to_its_issuer_alone_and_reasoning_without_one_stays_here() {
    let reasoning = |text: &str, seal: Option<Seal>| {
        Content::Reasoning(Reasoning { text: text.into(), seal, is_redacted: text.is_empty() })
    };
    let call = of_turns(vec![turn(
        Role::Assistant,
        vec![
            reasoning("own", Some(Seal::of("cloud", "c2ln"))),
            reasoning("", Some(Seal::of("cloud", "cmVk"))),
            reasoning("foreign", Some(Seal::of("other", "eA"))),
            reasoning("unmarked", Some(Seal::from_client("gAAA"))),
            reasoning("open", None),
            Content::Text("hi".into()),
        ],
    )]);
    let (body, lost) = written(&call);
    assert_eq!(
        body["input"],
        json!([
            { "type": "reasoning", "summary": [{ "type": "summary_text", "text": "own" }], "encrypted_content": "c2ln" },
            { "type": "reasoning", "summary": [], "encrypted_content": "cmVk" },
            { "type": "message", "role": "assistant", "content": "hi" },
        ])
    );
    assert_eq!(lost, ["content.reasoning"]);
}

#[test]
fn sealed_reasoning_is_asked_for_where_reasoning_is() {
    let asked = |thinking: Thinking| {
        let (body, _) = written(&Call { thinking, ..of_turns(vec![said(Role::User, "hi")]) });
        (body["reasoning"].clone(), body["include"].clone())
    };
    let effort = |effort| Thinking { effort: Some(effort), ..Thinking::default() };
    let sealed = json!(["reasoning.encrypted_content"]);
    assert_eq!(asked(Thinking::default()), (Value::Null, Value::Null));
    assert_eq!(asked(effort(Effort::High)), (json!({ "effort": "high" }), sealed.clone()));
    assert_eq!(asked(effort(Effort::None)), (json!({ "effort": "none" }), Value::Null));
    // Dialects with a budget show what was thought.
    let budget = Thinking { budget_tokens: Some(8000), enabled: Some(true), ..Thinking::default() };
    assert_eq!(asked(budget), (json!({ "effort": "medium", "summary": "auto" }), sealed.clone()));
    let adaptive = Thinking { enabled: Some(true), ..Thinking::default() };
    assert_eq!(asked(adaptive), (json!({ "summary": "auto" }), sealed));
    // Not every model knows the words for the least and the most.
    let budget =
        |tokens| asked(Thinking { budget_tokens: Some(tokens), ..Thinking::default() }).0["effort"].clone();
    assert_eq!((budget(1024), budget(60_000)), (json!("low"), json!("high")));
    // Many refuse to be told not to think.
    let off = Thinking { enabled: Some(false), ..Thinking::default() };
    assert_eq!(asked(off.clone()), (Value::Null, Value::Null));
    assert_eq!(written(&Call { thinking: off, ..of_turns(vec![]) }).1, ["thinking"]);
}

#[test]
fn functions_are_strict_only_where_the_caller_said_so() {
    let schema = json!({ "type": "object", "properties": { "a": { "type": "string" } } });
    let strict = ToolKind::Function { parameters: schema.clone(), strict: Some(true) };
    let call = Call {
        tools: vec![
            function("a", schema.clone()),
            tool("b", strict),
            function("c", json!({ "type": "object" })),
        ],
        ..of_turns(vec![said(Role::User, "hi")])
    };
    let (body, _) = written(&call);
    assert_eq!(
        body["tools"],
        json!([
            { "type": "function", "name": "a", "parameters": schema, "strict": false },
            { "type": "function", "name": "b", "parameters": schema, "strict": true },
            { "type": "function", "name": "c", "parameters": { "type": "object", "properties": {} }, "strict": false },
        ])
    );
    assert_eq!(body["tool_choice"], "auto");
}

#[test]
fn custom_tools_are_functions_where_there_is_nothing_else() {
    let format = json!({ "type": "grammar", "grammar": { "syntax": "lark", "definition": "a" } }).to_string();
    let call = Call {
        tools: vec![tool("patch", ToolKind::Custom { format: Some(format) })],
        tool_choice: ToolChoice::Named("patch".into()),
        ..of_turns(vec![
            turn(Role::Assistant, vec![tool_call("c", "patch", "*** Begin")]),
            turn(Role::User, vec![result("c", vec![Content::Text("done".into())])]),
        ])
    };
    let (body, lost) = to(&call, Host::Compatible);
    assert_eq!(body["tools"][0]["parameters"]["required"], json!(["input"]));
    assert_eq!(body["tool_choice"], json!({ "type": "function", "name": "patch" }));
    assert_eq!(body["input"][0]["arguments"], r#"{"input":"*** Begin"}"#);
    assert_eq!(body["input"][1]["type"], "function_call_output");
    assert_eq!(lost, ["tools[].format"]);
    let (body, lost) = to(&call, Host::OpenAi);
    assert_eq!(body["tools"][0]["format"], json!({ "type": "grammar", "syntax": "lark", "definition": "a" }));
    assert_eq!(body["tool_choice"], json!({ "type": "custom", "name": "patch" }));
    assert_eq!((&body["input"][0]["input"], lost.len()), (&json!("*** Begin"), 0));
    assert_eq!(body["input"][1]["type"], "custom_tool_call_output");
}

#[test]
fn hosted_tools_of_other_apis_are_left_out_by_name() {
    let hosted = |kind: &str| {
        let json = json!({ "type": kind }).to_string();
        tool(kind, ToolKind::Hosted { kind: kind.into(), json })
    };
    let mut call = of_turns(vec![said(Role::User, "hi")]);
    call.tools = vec![hosted("web_search_20250305"), hosted("web_search"), hosted("bash_20250124")];
    let (body, lost) = written(&call);
    assert_eq!(body["tools"], json!([{ "type": "web_search" }]));
    assert_eq!(lost, ["tools.bash_20250124", "tools.web_search_20250305"]);
    let (body, lost) = to(&call, Host::Compatible);
    assert_eq!((&body["tools"], &body["tool_choice"], lost.len()), (&Value::Null, &Value::Null, 3));
    call.tool_choice = ToolChoice::Named("bash_20250124".into());
    assert_eq!(write_call(&call, TARGET, Host::OpenAi).unwrap_err().param, "tool_choice");
}

// Rule 25
#[test]
fn what_the_api_cannot_say_is_named() {
    let mut call = of_turns(vec![said(Role::User, "hi")]);
    call.sampling.seed = Some(1);
    call.sampling.top_k = Some(2);
    call.sampling.min_p = Some(0.1);
    call.sampling.frequency_penalty = Some(0.1);
    call.sampling.presence_penalty = Some(0.1);
    call.sampling.logprobs = Some(1);
    call.stop = vec!["x".into()];
    call.max_tokens = Some(1);
    call.format = Format::Other { kind: "regex".into(), json: "{}".into() };
    call.extras = vec![Extra { name: "logit_bias".into(), json: "{}".into() }];
    call.turns[0].name = Some("ann".into());
    call.turns[0].blocks[0].cache = Some(CacheMark::Default);
    let failed = ToolResult { call_id: "c".into(), name: None, content: vec![], is_error: true };
    call.turns.push(turn(Role::User, vec![Content::ToolResult(failed)]));
    call.turns.push(turn(
        Role::Assistant,
        vec![Content::Other { kind: "server_tool_use".into(), json: "{}".into() }],
    ));
    let (body, lost) = written(&call);
    assert_eq!(
        lost,
        [
            "cache_control",
            "content.server_tool_use",
            "frequency_penalty",
            "logit_bias",
            "logprobs",
            "max_tokens",
            "min_p",
            "name",
            "presence_penalty",
            "response_format",
            "seed",
            "stop",
            "tool_result.is_error",
            "top_k",
        ]
    );
    // The API refuses fewer.
    assert_eq!(body["max_output_tokens"], 16);
    assert_eq!(to(&call, Host::Compatible).0["max_output_tokens"], 1);
}

#[test]
fn what_the_apis_owner_takes_in_each_of_its_dialects_is_carried() {
    let extra = |name: &str, json: &str| Extra { name: name.into(), json: json.into() };
    let mut call = of_turns(vec![said(Role::User, "hi")]);
    call.extras = vec![
        extra("text.verbosity", r#""low""#),
        extra("prompt_cache_key", r#""0001""#),
        extra("client_metadata", "{}"),
        extra("seen", "null"),
    ];
    let (body, lost) = written(&call);
    assert_eq!((&body["text"], &body["prompt_cache_key"]), (&json!({ "verbosity": "low" }), &json!("0001")));
    assert_eq!(lost, ["client_metadata"]);
    assert_eq!(to(&call, Host::Compatible).1, ["client_metadata", "prompt_cache_key", "text.verbosity"]);
}

#[test]
fn several_answers_are_refused() {
    let call = Call { choices: Some(2), ..of_turns(vec![said(Role::User, "hi")]) };
    assert_eq!(write_call(&call, TARGET, Host::OpenAi).unwrap_err().param, "n");
}

#[test]
fn settings_are_carried() {
    let mut call = of_turns(vec![said(Role::User, "hi")]);
    call.sampling.temperature = Some(0.5);
    call.sampling.top_p = Some(0.9);
    call.max_tokens = Some(500);
    call.user = Some("u".into());
    call.store = Some(true);
    call.stream = true;
    call.tools = vec![function("f", json!({}))];
    call.parallel_tools = Some(false);
    call.tool_choice = ToolChoice::Required;
    call.thinking.summary = Some("detailed".into());
    call.format = Format::JsonSchema {
        name: "n".into(),
        description: None,
        schema: json!({ "type": "object" }),
        strict: Some(true),
    };
    insta::assert_snapshot!(pretty(&call));
}

#[test]
fn a_default_is_not_said_to_models_that_may_refuse_it() {
    let mut call = of_turns(vec![said(Role::User, "hi")]);
    call.sampling.temperature = Some(1.0);
    call.sampling.top_p = Some(1.0);
    let body = written(&call).0;
    assert_eq!((&body["temperature"], &body["top_p"]), (&Value::Null, &Value::Null));
    let body = to(&call, Host::Compatible).0;
    assert_eq!((&body["temperature"], &body["top_p"]), (&json!(1.0), &json!(1.0)));
}

#[test]
fn an_assistant_that_said_nothing_leaves_nothing() {
    let call =
        of_turns(vec![said(Role::User, "hi"), said(Role::Assistant, ""), turn(Role::Assistant, vec![])]);
    assert_eq!(written(&call).0["input"].as_array().map(Vec::len), Some(1));
}

#[test]
fn ids_too_long_for_the_api_are_cut_alike_in_a_call_and_its_result() {
    let long = |end: &str| format!("{}{end}", "x".repeat(80));
    let call = Call {
        user: Some(long("u")),
        ..of_turns(vec![
            turn(Role::Assistant, vec![tool_call(&long("a"), "f", ""), tool_call(&long("b"), "f", "")]),
            turn(Role::User, vec![result(&long("b"), vec![]), result(&long("a"), vec![])]),
        ])
    };
    let (body, lost) = written(&call);
    let ids: Vec<_> =
        (0..4).map(|index| body["input"][index]["call_id"].as_str().unwrap_or_default()).collect();
    assert!(ids.iter().all(|id| id.len() == 64) && ids[0] != ids[1], "{ids:?}");
    assert_eq!((ids[0], ids[1]), (ids[3], ids[2]));
    // Half an id would be another user.
    assert_eq!((&body["user"], lost), (&Value::Null, vec!["user".to_owned()]));
}

#[test]
fn a_server_of_open_models_gets_its_own_reasoning_back_in_words() {
    let reasoning = |text: &str, seal: Seal| {
        Content::Reasoning(Reasoning { text: text.into(), seal: Some(seal), is_redacted: false })
    };
    let mut call = of_turns(vec![turn(
        Role::Assistant,
        vec![reasoning("own", Seal::of("cloud", "")), reasoning("foreign", Seal::of("other", ""))],
    )]);
    call.thinking.effort = Some(Effort::High);
    let (body, lost) = to(&call, Host::Compatible);
    assert_eq!(
        body["input"],
        json!([{ "type": "reasoning", "id": "rs_0", "summary": [],
            "content": [{ "type": "reasoning_text", "text": "own" }] }])
    );
    assert_eq!((&body["include"], lost), (&Value::Null, vec!["content.reasoning".to_owned()]));
}
