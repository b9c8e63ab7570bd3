//! Each kind in each dialect, and the ways to hide one.

use bytes::Bytes;
use wire::openai::embeddings;
use wire::{Dialect, ParseErrorKind, Request};

use super::{
    CallerDestination, DIALECTS, FileId, HostedTool, RemoteUrl, StoredState, UnknownField, UnknownPart,
    UnknownTool, check, found, said, with,
};

const CHAT: Dialect = Dialect::OpenAiChat;
const RESPONSES: Dialect = Dialect::OpenAiResponses;
const MESSAGES: Dialect = Dialect::AnthropicMessages;

#[test]
fn a_url_is_inline_only_as_data() {
    let elsewhere = [
        "https://host/a.png",
        "HTTP://host/a.png",
        " https://host/a.png",
        "\\u0000https://host/a.png",
        "//host/a.png",
        "file:///etc/passwd",
        "FILE:/etc/passwd",
        "ftp://host/a",
        "gs://bucket/a",
        "s3://bucket/a",
        "blob:https://host/a",
        "/etc/passwd",
        " data:image/png;base64,AA==",
        "\\u0068ttps://host/a.png",
        "",
    ];
    let images = |url: &str| {
        [
            (CHAT, format!(r#"{{"type":"image_url","image_url":{{"url":"{url}"}}}}"#), "image_url.url"),
            (CHAT, format!(r#"{{"type":"image_url","image_url":"{url}"}}"#), "image_url"),
            (CHAT, format!(r#"{{"type":"video_url","video_url":{{"url":"{url}"}}}}"#), "video_url.url"),
            (CHAT, format!(r#"{{"type":"audio_url","audio_url":{{"url":"{url}"}}}}"#), "audio_url.url"),
            (RESPONSES, format!(r#"{{"image_url":"{url}","type":"input_image"}}"#), "image_url"),
            (RESPONSES, format!(r#"{{"type":"input_file","file_url":"{url}"}}"#), "file_url"),
        ]
    };
    for url in elsewhere {
        for (dialect, part, path) in images(url) {
            let list = if dialect == RESPONSES { "input" } else { "messages" };
            let path = format!("{list}[0].content[0].{path}");
            check(dialect, &said(dialect, &part), &[(RemoteUrl, &path)]);
        }
    }
    for (dialect, part, _) in images("data:image/png;base64,AA==") {
        check(dialect, &said(dialect, &part), &[]);
    }
    for kind in ["image", "document"] {
        let part = format!(r#"{{"type":"{kind}","source":{{"url":"data:,","type":"url"}}}}"#);
        check(MESSAGES, &said(MESSAGES, &part), &[(RemoteUrl, "messages[0].content[0].source.url")]);
    }
}

#[test]
fn bytes_are_base64_and_no_url() {
    let audio =
        |data: &str| format!(r#"{{"type":"input_audio","input_audio":{{"data":"{data}","format":"mp3"}}}}"#);
    for (dialect, list) in [(CHAT, "messages"), (RESPONSES, "input")] {
        // What a recording in MP3 begins with.
        check(dialect, &said(dialect, &audio("//uQxAAAAAA=")), &[]);
        check(dialect, &said(dialect, &audio("data:audio/mp3;base64,AA==")), &[]);
        let path = format!("{list}[0].content[0].input_audio.data");
        for url in ["https://host/a.mp3", "//host.example/a.mp3", "file:/a"] {
            check(dialect, &said(dialect, &audio(url)), &[(RemoteUrl, &path)]);
        }
    }
    let file = r#"{"type":"file","file":{"filename":"a.pdf","file_data":"https://host/a.pdf"}}"#;
    check(CHAT, &said(CHAT, file), &[(RemoteUrl, "messages[0].content[0].file.file_data")]);
    let file = r#"{"type":"input_file","filename":"a.pdf","file_data":"JVBERi0="}"#;
    check(RESPONSES, &said(RESPONSES, file), &[]);
}

#[test]
fn a_url_is_found_wherever_a_part_may_stand() {
    let image = r#"{"type":"input_image","image_url":"https://host/a"}"#;
    for kind in ["function_call_output", "custom_tool_call_output"] {
        let body =
            format!(r#"{{"model":"m","input":[{{"type":"{kind}","call_id":"c","output":[{image}]}}]}}"#);
        check(RESPONSES, &body, &[(RemoteUrl, "input[0].output[0].image_url")]);
    }
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"tool","tool_call_id":"c","content":[{}]}}]}}"#,
        r#"{"type":"image_url","image_url":{"url":"https://host/a"}}"#
    );
    check(CHAT, &body, &[(RemoteUrl, "messages[0].content[0].image_url.url")]);
    let image = r#"{"type":"image","source":{"type":"url","url":"https://host/a"}}"#;
    for (parts, path) in [
        (
            format!(r#"{{"type":"tool_result","tool_use_id":"t","content":[{image}]}}"#),
            "content[0].source.url",
        ),
        (
            format!(r#"{{"type":"document","source":{{"type":"content","content":[{image}]}}}}"#),
            "source.content[0].source.url",
        ),
    ] {
        let path = format!("messages[0].content[0].{path}");
        check(MESSAGES, &said(MESSAGES, &parts), &[(RemoteUrl, &path)]);
    }
    // Nothing but text belongs here; a server that takes more must not get more.
    let system = format!(r#""system":[{{"type":"text","text":"a"}},{image}]"#);
    let expected = [(UnknownPart, "system[1].type"), (RemoteUrl, "system[1].source.url")];
    check(MESSAGES, &with(MESSAGES, &system), &expected);
}

#[test]
fn words_are_never_taken_for_places() {
    let text = r#"fetch https://host/a, api_base and \"type\":\"mcp\""#;
    check(CHAT, &said(CHAT, &format!(r#"{{"type":"text","text":"{text}"}}"#)), &[]);
    check(RESPONSES, &said(RESPONSES, &format!(r#"{{"type":"input_text","text":"{text}"}}"#)), &[]);
    check(MESSAGES, &said(MESSAGES, &format!(r#"{{"type":"text","text":"{text}"}}"#)), &[]);
    for dialect in [CHAT, RESPONSES] {
        check(
            dialect,
            &with(dialect, r#""metadata":{"api_base":"https://host","webhook":"https://host"}"#),
            &[],
        );
    }
    let call = r#"{"type":"tool_use","id":"t","name":"fetch","input":{"url":"https://host/a","type":"mcp"}}"#;
    let body =
        format!(r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"assistant","content":[{call}]}}]}}"#);
    check(MESSAGES, &body, &[]);
}

#[test]
fn a_schema_may_refer_to_itself_and_to_nothing_else() {
    let tools = |reference: &str| {
        let schema = format!(
            r#"{{"$schema":"https://json-schema.org/draft/2020-12/schema","$defs":{{"a":{{}}}},"properties":{{"$ref":{{"type":"string"}},"b":{{"$ref":"{reference}"}}}}}}"#
        );
        [
            (
                CHAT,
                format!(r#""tools":[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]"#),
            ),
            (RESPONSES, format!(r#""tools":[{{"type":"function","name":"f","parameters":{schema}}}]"#)),
            (MESSAGES, format!(r#""tools":[{{"name":"f","input_schema":{schema}}}]"#)),
        ]
    };
    for (dialect, members) in tools("#/$defs/a") {
        check(dialect, &with(dialect, &members), &[]);
    }
    for (dialect, members) in tools("https://host/schema.json") {
        let found = found(dialect, &with(dialect, &members));
        let [(kind, path)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(*kind, RemoteUrl);
        assert!(path.starts_with("tools[0].") && path.ends_with(".properties.b.$ref"), "{path}");
    }
}

#[test]
fn what_was_given_to_a_provider_earlier_is_named_by_an_id() {
    let file = r#"{"type":"file","file":{"file_id":"f"}}"#;
    check(CHAT, &said(CHAT, file), &[(FileId, "messages[0].content[0].file.file_id")]);
    check(CHAT, &with(CHAT, r#""audio":{"format":"wav","voice":{"id":"v"}}"#), &[(FileId, "audio.voice")]);
    check(CHAT, &with(CHAT, r#""audio":{"format":"wav","voice":"alloy"}"#), &[]);
    let body = r#"{"model":"m","messages":[{"role":"assistant","content":null,"audio":{"id":"a"}}]}"#;
    check(CHAT, body, &[(FileId, "messages[0].audio.id")]);
    for part in [r#"{"type":"input_file","file_id":"f"}"#, r#"{"type":"input_image","file_id":"f"}"#] {
        check(RESPONSES, &said(RESPONSES, part), &[(FileId, "input[0].content[0].file_id")]);
    }
    for (part, path) in [
        (r#"{"type":"document","source":{"type":"file","file_id":"f"}}"#, "source.file_id"),
        (r#"{"type":"container_upload","file_id":"f"}"#, "file_id"),
    ] {
        check(MESSAGES, &said(MESSAGES, part), &[(FileId, &format!("messages[0].content[0].{path}"))]);
    }
    for container in [r#""c_1""#, r#"{"id":"c_1","skills":[]}"#] {
        let members = format!(r#""container":{container}"#);
        check(MESSAGES, &with(MESSAGES, &members), &[(FileId, "container")]);
    }
    check(MESSAGES, &with(MESSAGES, r#""container":null"#), &[]);
}

#[test]
fn tools_that_others_run_are_told_from_those_that_the_client_runs() {
    let hosted = |dialect, kind: &str| {
        let tool = format!(r#""tools":[{{"type":"{kind}"}}]"#);
        check(dialect, &with(dialect, &tool), &[(HostedTool, "tools[0]")]);
    };
    for kind in [
        "web_search",
        "web_search_2025_08_26",
        "web_search_preview",
        "web_search_preview_2025_03_11",
        "file_search",
        "code_interpreter",
        "computer",
        "computer_use",
        "computer_use_preview",
        "image_generation",
        "mcp",
        "programmatic_tool_calling",
    ] {
        hosted(RESPONSES, kind);
    }
    for kind in [
        "web_search_20250305",
        "web_fetch_20250910",
        "code_execution_20250825",
        "advisor_20260301",
        "mcp_toolset",
    ] {
        hosted(MESSAGES, kind);
    }
    hosted(CHAT, "web_search_preview");
    hosted(CHAT, "code_interpreter");
    for tool in [
        r#"{"type":"bash_20250124","name":"bash"}"#,
        r#"{"type":"text_editor_20250728","name":"str_replace_based_edit_tool","max_characters":9}"#,
        r#"{"type":"computer_20251124","name":"computer","display_width_px":9,"display_height_px":9}"#,
        r#"{"type":"memory_20250818","name":"memory"}"#,
        r#"{"type":"tool_search_tool_bm25_20251119","name":"tool_search_tool_bm25"}"#,
        r#"{"type":"custom","name":"web_search","input_schema":{}}"#,
    ] {
        check(MESSAGES, &with(MESSAGES, &format!(r#""tools":[{tool}]"#)), &[]);
    }
    for tool in [
        r#"{"type":"local_shell"}"#,
        r#"{"type":"apply_patch"}"#,
        r#"{"type":"shell"}"#,
        r#"{"type":"shell","environment":{"type":"local"}}"#,
        r#"{"type":"tool_search","execution":"client","parameters":{}}"#,
        r#"{"type":"namespace","name":"n","description":"d","tools":[{"type":"function","name":"f"}]}"#,
    ] {
        check(RESPONSES, &with(RESPONSES, &format!(r#""tools":[{tool}]"#)), &[]);
    }
    let shell = r#""tools":[{"type":"shell","environment":{"type":"container_auto"}}]"#;
    check(RESPONSES, &with(RESPONSES, shell), &[(HostedTool, "tools[0].environment.type")]);
    check(CHAT, &with(CHAT, r#""web_search_options":{}"#), &[(HostedTool, "web_search_options")]);
}

#[test]
fn tools_of_other_apis_are_hosted_by_their_names() {
    let tools = r#""tools":[{"google_search":{}}]"#;
    check(
        CHAT,
        &with(CHAT, tools),
        &[(HostedTool, "tools[0].google_search"), (UnknownField, "tools[0].google_search")],
    );
    let body = r#""extra_body":{"google":{"tools":[{"googleSearch":{}},{"url_context":{}}]}}"#;
    let expected = [(UnknownField, "extra_body"), (HostedTool, "extra_body.google.tools[0].googleSearch")];
    check(CHAT, &with(CHAT, body), &expected);
    for (member, switched_off) in [("enable_search", "false"), ("search_parameters", "null")] {
        let on = with(CHAT, &format!(r#""{member}":true"#));
        check(CHAT, &on, &[(HostedTool, member), (UnknownField, member)]);
        let off = found(CHAT, &with(CHAT, &format!(r#""{member}":{switched_off}"#)));
        assert!(off.iter().all(|(kind, _)| *kind == UnknownField), "{off:?}");
    }
}

#[test]
fn what_a_hosted_tool_left_is_found_and_what_the_clients_left_is_not() {
    for item in [
        r#"{"type":"web_search_call","id":"w","action":{"type":"search","query":"q"}}"#,
        r#"{"type":"mcp_approval_response","approval_request_id":"a","approve":true}"#,
        r#"{"type":"mcp_list_tools","id":"m","server_label":"s","tools":[]}"#,
        r#"{"type":"image_generation_call","id":"i","result":null}"#,
        r#"{"type":"computer_call","id":"c","call_id":"c","action":{}}"#,
    ] {
        let body = format!(r#"{{"model":"m","input":[{item}]}}"#);
        check(RESPONSES, &body, &[(HostedTool, "input[0]")]);
    }
    let item = r#"{"type":"code_interpreter_call","id":"c","container_id":"n","code":"1","outputs":null}"#;
    let body = format!(r#"{{"model":"m","input":[{item}]}}"#);
    check(RESPONSES, &body, &[(HostedTool, "input[0]"), (FileId, "input[0].container_id")]);
    for item in [
        r#"{"type":"local_shell_call","id":"l","call_id":"l","action":{"type":"exec","env":{"PROXY":"http://host"}}}"#,
        r#"{"type":"apply_patch_call","id":"a","call_id":"a","operation":{"type":"delete_file","path":"//a"}}"#,
        r#"{"type":"tool_search_call","call_id":"t","execution":"client","arguments":{}}"#,
        r#"{"type":"reasoning","id":"r","summary":[],"encrypted_content":"x"}"#,
    ] {
        check(RESPONSES, &format!(r#"{{"model":"m","input":[{item}]}}"#), &[]);
    }
    // An item of the conversation may add tools.
    let item = r#"{"type":"tool_search_output","call_id":"t","tools":[{"type":"web_search"}]}"#;
    check(RESPONSES, &format!(r#"{{"model":"m","input":[{item}]}}"#), &[(HostedTool, "input[0].tools[0]")]);
    let used = |name: &str| {
        let block = format!(r#"{{"type":"server_tool_use","id":"s","name":"{name}","input":{{}}}}"#);
        format!(r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"assistant","content":[{block}]}}]}}"#)
    };
    check(MESSAGES, &used("web_search"), &[(HostedTool, "messages[0].content[0].name")]);
    check(MESSAGES, &used("tool_search_tool_regex"), &[]);
}

#[test]
fn mcp_servers_are_tools_and_destinations() {
    for member in ["server_url", "connector_id", "tunnel_id"] {
        let tool = format!(r#""tools":[{{"type":"mcp","server_label":"s","{member}":"x"}}]"#);
        let path = format!("tools[0].{member}");
        check(RESPONSES, &with(RESPONSES, &tool), &[(HostedTool, "tools[0]"), (CallerDestination, &path)]);
    }
    let servers = r#""mcp_servers":[{"type":"url","name":"s","url":"https://host/mcp"}]"#;
    let expected = [(HostedTool, "mcp_servers"), (CallerDestination, "mcp_servers[0].url")];
    check(MESSAGES, &with(MESSAGES, servers), &expected);
    check(MESSAGES, &with(MESSAGES, r#""mcp_servers":[]"#), &[]);
}

#[test]
fn a_destination_of_the_callers_is_found_in_every_dialect_and_spelling() {
    for name in [
        "api_base",
        "apiBase",
        "API-BASE",
        "base_url",
        "api_key",
        "extra_headers",
        "webhook",
        "webhook_url",
        "callback_url",
        "custom_llm_provider",
        "fallbacks",
        "kv_transfer_params",
        "bootstrap_host",
        "lora_path",
    ] {
        for dialect in DIALECTS {
            let found = found(dialect, &with(dialect, &format!(r#""{name}":"x""#)));
            assert_eq!(found.first(), Some(&(CallerDestination, name.to_owned())), "{dialect}");
        }
    }
    // Where nobody expects it.
    let part = r#"{"type":"text","text":"a","api_base":"https://host"}"#;
    let path = "messages[0].content[0].api_base";
    check(CHAT, &said(CHAT, part), &[(CallerDestination, path), (UnknownField, path), (RemoteUrl, path)]);
    let nested = r#""litellm_settings":{"deep":[{"api_base":"host"}]}"#;
    let expected =
        [(UnknownField, "litellm_settings"), (CallerDestination, "litellm_settings.deep[0].api_base")];
    check(CHAT, &with(CHAT, nested), &expected);
}

#[test]
fn what_others_keep_is_found() {
    for dialect in [CHAT, RESPONSES] {
        check(dialect, &with(dialect, r#""store":true"#), &[(StoredState, "store")]);
        // Some servers take these for true.
        check(dialect, &with(dialect, r#""store":"true""#), &[(StoredState, "store")]);
        check(dialect, &with(dialect, r#""store":1"#), &[(StoredState, "store")]);
        check(dialect, &with(dialect, r#""store":false"#), &[]);
        check(dialect, &with(dialect, r#""store":null"#), &[]);
    }
    for (members, path) in [
        (r#""background":true"#, "background"),
        (r#""conversation":"c""#, "conversation"),
        (r#""conversation":{"id":"c"}"#, "conversation"),
        (r#""prompt":{"id":"p"}"#, "prompt"),
    ] {
        check(RESPONSES, &with(RESPONSES, members), &[(StoredState, path)]);
    }
    for item in [r#"{"type":"item_reference","id":"i"}"#, r#"{"id":"i"}"#] {
        check(RESPONSES, &format!(r#"{{"model":"m","input":[{item}]}}"#), &[(StoredState, "input[0]")]);
    }
    // The gateway's own store, or nobody's.
    check(RESPONSES, &with(RESPONSES, r#""previous_response_id":"r""#), &[]);
    for name in ["previous_response_id", "thread_id", "assistant_id", "batch_id"] {
        let found = found(CHAT, &with(CHAT, &format!(r#""{name}":"x""#)));
        assert_eq!(found.first(), Some(&(StoredState, name.to_owned())));
    }
    check(
        MESSAGES,
        &with(MESSAGES, r#""diagnostics":{"previous_message_id":"m"}"#),
        &[(StoredState, "diagnostics.previous_message_id")],
    );
}

#[test]
fn what_no_table_has_is_unknown_and_a_key_in_another_case_is_another_key() {
    for dialect in DIALECTS {
        for name in ["Model", "MODEL", "modeI", "new_field", "Stream", " model"] {
            check(dialect, &with(dialect, &format!(r#""{name}":"x""#)), &[(UnknownField, name)]);
        }
        check(dialect, &with(dialect, r#""\u004dodel":"x""#), &[(UnknownField, "Model")]);
        check(dialect, &with(dialect, r#""new_field":null"#), &[]);
    }
    check(CHAT, &with(CHAT, r#""temperature":{"a":1}"#), &[(UnknownField, "temperature")]);
    for (dialect, list) in [(CHAT, "messages"), (RESPONSES, "input"), (MESSAGES, "messages")] {
        let at = |rest: &str| format!("{list}[0].content[0]{rest}");
        check(dialect, &said(dialect, r#"{"type":"hologram"}"#), &[(UnknownPart, &at(".type"))]);
        check(dialect, &said(dialect, r#"{"text":"a"}"#), &[(UnknownPart, &at(""))]);
        check(dialect, &said(dialect, r#"{"type":["text"],"text":"a"}"#), &[(UnknownPart, &at(".type"))]);
        check(dialect, &said(dialect, "7"), &[(UnknownField, &at(""))]);
        // Servers take it without its type.
        let bare = r#"{"image_url":"https://host/a"}"#;
        let expected = [(UnknownPart, at("")), (RemoteUrl, at(".image_url"))];
        let expected: Vec<_> = expected.iter().map(|(kind, path)| (*kind, path.as_str())).collect();
        check(dialect, &said(dialect, bare), &expected);
        let tool = r#""tools":[{"type":"teleport","name":"a"}]"#;
        check(dialect, &with(dialect, tool), &[(UnknownTool, "tools[0].type")]);
    }
    check(RESPONSES, r#"{"model":"m","input":[{"type":"wormhole"}]}"#, &[(UnknownPart, "input[0].type")]);
}

#[test]
fn a_type_says_which_members_are_known() {
    let part = r#"{"type":"text","text":"a","image_url":{"url":"https://host/a"}}"#;
    let path = "messages[0].content[0].image_url";
    check(CHAT, &said(CHAT, part), &[(UnknownField, path), (RemoteUrl, &format!("{path}.url"))]);
    let source = r#"{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA==","url":"https://host/a"}}"#;
    let path = "messages[0].content[0].source.url";
    check(MESSAGES, &said(MESSAGES, source), &[(UnknownField, path), (RemoteUrl, path)]);
}

#[test]
fn every_dialect_refuses_a_key_that_stands_twice_however_it_is_written() {
    for dialect in DIALECTS {
        for members in [
            r#""model":"other""#,
            r#""m\u006fdel":"other""#,
            r#""a":1,"a":2"#,
            r#""a":{"b":[{"c":1,"c":1}]}"#,
        ] {
            let body = Bytes::from(with(dialect, members));
            let refused = if dialect == Dialect::OpenAiEmbeddings {
                embeddings::Request::parse(body).map(drop)
            } else {
                Request::parse(dialect, body).map(drop)
            };
            let kind = refused.map_err(|error| error.kind());
            assert_eq!(kind, Err(ParseErrorKind::DuplicateKey), "{dialect}: {members}");
        }
    }
}

#[test]
fn names_of_the_callers_are_cut_and_values_are_never_shown() {
    let long = "x".repeat(300);
    let found = found(CHAT, &with(CHAT, &format!(r#""{long}":"secret words""#)));
    let [(UnknownField, path)] = &found[..] else { panic!("{found:?}") };
    assert!(path.len() < 80 && path.starts_with("xxx"), "{path}");
}
