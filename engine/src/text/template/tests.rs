//! What the templates of published models lean on; the expected texts are jinja2's.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::super::tests::{golden_tokenizer, new_year};
use super::super::{Role, ToolCall};
use super::sources::FOLDER_OF_OTHERS;
use super::*;

fn folder_with(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn load(source: &str) -> Result<Template, TextError> {
    Template::load(folder_with(&[("chat_template.jinja", source)]).path(), &golden_tokenizer())
}

fn hello() -> Conversation {
    Conversation { messages: vec![Message::new(Role::User, "Hello")], ..Conversation::default() }
}

fn hello_with_tool() -> Conversation {
    let tool = Tool { name: "clock".into(), description: None, parameters: json!({"type": "object"}) };
    Conversation { tools: vec![tool], ..hello() }
}

fn calling(content: &str, arguments: &str) -> Conversation {
    let call = ToolCall { id: "1".into(), name: "clock".into(), arguments: arguments.into() };
    let message = Message { tool_calls: vec![call], ..Message::new(Role::Assistant, content) };
    Conversation { messages: vec![message], ..Conversation::default() }
}

fn render(source: &str) -> Result<String, TextError> {
    load(source)?.render(&hello(), &new_year())
}

fn refusal(source: &str) -> String {
    match render(source) {
        Err(TextError::Template(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn pythons_string_and_dict_methods_are_there() {
    for (source, expected) in [
        ("{{ ' a '.strip() + 'b'.upper() }}", "aB"),
        ("{{ 'a</think>b'.split('</think>')[-1] }}", "b"),
        ("{{ messages[0].get('name', 'nobody') }}", "nobody"),
        (
            "{% for key, value in messages[0].items() %}{{ key }}={{ value }};{% endfor %}",
            "role=user;content=Hello;",
        ),
        ("{{ messages[0]['content'].startswith('He') }}", "True"),
        ("{{ messages[::-1][0].role }}{{ messages[1:] | length }}", "user0"),
        ("{{ none }}|{{ 1.0 }}|{{ documents is none }}|{{ tools is none }}", "None|1.0|True|True"),
        ("{{ 'a' ~ 1 ~ true }}{{ ['it', none] }}", "a1True['it', None]"),
        ("{{ tools is iterable }}|{{ messages is iterable }}|{{ nope is iterable }}", "False|True|True"),
        ("{{ 'a' is sequence }}|{{ {} is sequence }}|{{ none is sequence }}", "True|True|False"),
        ("{{ bos_token }}{{ eos_token }}{{ unk_token }}", "<|begin|><|im_end|>"),
        ("{% for i in range(9) %}{% if i == 2 %}{% break %}{% endif %}{{ i }}{% endfor %}", "01"),
        ("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m('<b>') }}", "<<b>>"),
    ] {
        assert_eq!(render(source).unwrap(), expected, "{source}");
    }
}

#[test]
fn white_space_around_blocks_is_trimmed_as_transformers_trims_it() {
    let source = "{% if true %}\n  a\n    {% if true %}\n  b\n    {%- endif %}\n{% endif %}\n{{ 'c' }}\n\n";
    assert_eq!(render(source).unwrap(), "  a\n  bc\n");
}

#[test]
fn a_template_writes_the_time_that_the_caller_passes() {
    assert_eq!(render("{{ strftime_now('%d %b %Y, %H:%M') }}").unwrap(), "05 Jan 2024, 09:30");
    assert!(refusal("{{ strftime_now('%') }}").contains("strftime_now failed"));
}

#[test]
fn generation_tags_leave_no_trace() {
    let source = "a {%- generation -%} b {%- endgeneration %} c\n{% generation %}\nd\n{% endgeneration %}\n";
    assert_eq!(render(source).unwrap(), "ab c\nd\n");
    assert_eq!(render("{% set generation = 1 %}{{ generation }}{{ '{%' }}").unwrap(), "1{%");
}

#[test]
fn a_refusal_is_the_message_alone_however_deep_it_was_raised() {
    let source =
        "{% macro check() %}{{ raise_exception('roles must alternate') }}{% endmacro %}{{ check() }}";
    assert_eq!(refusal(source), "roles must alternate");
}

#[test]
fn other_failures_of_a_template_say_what_failed() {
    assert!(refusal("{{ messages.x.y }}").contains("undefined"));
}

#[test]
fn a_template_that_does_not_end_is_stopped() {
    let endless = "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}";
    assert!(refusal(endless).contains("fuel"));
    let growing = "{% set ns = namespace(s='0123456789') %}\
                   {% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}";
    assert!(refusal(growing).contains("fuel"));
    assert!(refusal("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}").contains("recursion"));
}

#[test]
fn a_long_conversation_is_far_from_the_fuel_limit() {
    let source = fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tokenizer/tokenizer_config.json"),
    );
    let settings: Json = serde_json::from_str(&source.unwrap()).unwrap();
    let mut template = load(settings["chat_template"].as_str().unwrap()).unwrap();
    template.environment.set_fuel(Some(FUEL_MAX / 10));
    let messages = vec![Message::new(Role::User, "word ".repeat(100)); 1000];
    let rendered =
        template.render(&Conversation { messages, ..Conversation::default() }, &new_year()).unwrap();
    assert_eq!(rendered.matches("<|im_start|>user").count(), 1000);
}

#[test]
fn arguments_are_an_object_if_they_are_one_and_the_models_text_if_not() {
    let template =
        load("{% set a = messages[0].tool_calls[0].function.arguments %}{{ a is string }} {{ a | tojson }}");
    let template = template.unwrap();
    let rendered = |arguments| template.render(&calling("", arguments), &new_year()).unwrap();
    assert_eq!(rendered("{\"b\":1,\"a\":[]}"), "False {\"b\": 1, \"a\": []}");
    assert_eq!(rendered("{\"b\":"), "True \"{\\\"b\\\":\"");
    assert_eq!(rendered("[1]"), "True \"[1]\"");
}

#[test]
fn a_call_without_text_has_null_content_only_for_templates_that_test_for_it() {
    let plain = load("{{ messages[0].content + '.' }}").unwrap();
    assert_eq!(plain.render(&calling("", "{}"), &new_year()).unwrap(), ".");
    let testing = load("{% if messages[0]['content'] is none %}call{% else %}text{% endif %}").unwrap();
    assert_eq!(testing.render(&calling("", "{}"), &new_year()).unwrap(), "call");
    assert_eq!(testing.render(&calling("I look.", "{}"), &new_year()).unwrap(), "text");
}

#[test]
fn optional_fields_are_absent_and_not_null() {
    let source = "{{ messages[0] | tojson }}{{ tools | tojson }}";
    let rendered = load(source).unwrap().render(&hello_with_tool(), &new_year()).unwrap();
    let tool = r#"{"type": "function", "function": {"name": "clock", "parameters": {"type": "object"}}}"#;
    assert_eq!(rendered, format!("{{\"role\": \"user\", \"content\": \"Hello\"}}[{tool}]"));
}

#[test]
fn the_template_for_tools_is_used_with_tools() {
    let templates = json!({ "chat_template": [
        { "name": "default", "template": "plain" },
        { "name": "tool_use", "template": "tools" },
    ]});
    let folder = folder_with(&[("tokenizer_config.json", &templates.to_string())]);
    let template = Template::load(folder.path(), &golden_tokenizer()).unwrap();
    assert_eq!(template.render(&hello(), &new_year()).unwrap(), "plain");
    assert_eq!(template.render(&hello_with_tool(), &new_year()).unwrap(), "tools");
}

#[test]
fn a_template_file_goes_before_the_one_in_the_tokenizers_settings() {
    let settings = json!({ "chat_template": "settings" }).to_string();
    let template = json!({ "chat_template": "json" }).to_string();
    let loaded = |files: &[_]| {
        let folder = folder_with(files);
        Template::load(folder.path(), &golden_tokenizer()).unwrap().render(&hello(), &new_year()).unwrap()
    };
    let (in_settings, in_json) = (("tokenizer_config.json", &*settings), ("chat_template.json", &*template));
    assert_eq!(loaded(&[in_settings]), "settings");
    assert_eq!(loaded(&[in_settings, in_json]), "json");
    assert_eq!(loaded(&[in_settings, in_json, ("chat_template.jinja", "jinja")]), "jinja");
}

#[test]
fn a_model_without_a_usable_template_is_refused() {
    let load = |files: &[_]| Template::load(folder_with(files).path(), &golden_tokenizer()).unwrap_err();
    assert!(matches!(load(&[("tokenizer_config.json", "{}")]), TextError::NoTemplate { .. }));
    for damaged in [
        "{\"chat_template\": \"{% if %}\"}",
        "{\"chat_template\": [{\"name\": \"rag\", \"template\": \"\"}]}",
    ] {
        let error = load(&[("tokenizer_config.json", damaged)]);
        assert!(matches!(error, TextError::Invalid { .. }), "{error}");
    }
}

/// `ref.json` has what transformers makes of each case.
#[test]
fn every_feature_renders_as_transformers_renders_it() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/templates/ref.json");
    let cases: Json = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let cases = cases["cases"].as_array().unwrap();
    assert!(cases.len() >= 12, "only {} cases", cases.len());
    let mut wrong = Vec::new();
    for case in cases {
        let sources: Vec<Json> = match &case["template"] {
            Json::Object(named) => {
                named.iter().map(|(name, source)| json!({ "name": name, "template": source })).collect()
            }
            source => vec![json!({ "name": "default", "template": source })],
        };
        let settings = json!({ "chat_template": sources }).to_string();
        let folder = folder_with(&[("tokenizer_config.json", &settings)]);
        let given = Given {
            messages: case["messages"].clone(),
            tools: case["tools"].clone(),
            documents: case["documents"].clone(),
            opening: match (&case["continue_final_message"], &case["add_generation_prompt"]) {
                (Json::Bool(true), _) => Opening::Continued,
                (_, Json::Bool(false)) => Opening::Closed,
                _ => Opening::Turn,
            },
            variables: case["variables"].as_object().cloned().unwrap_or_default(),
        };
        let rendered = Template::load(folder.path(), &golden_tokenizer())
            .and_then(|template| template.render_json(given, &new_year()));
        match rendered {
            Ok(rendered) if rendered == case["rendered"] => {}
            other => wrong.push(format!("{}:\n  {other:?}\n  {}", case["feature"], case["rendered"])),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn templates_beside_the_default_one_have_their_names() {
    let folder = folder_with(&[("chat_template.jinja", "plain")]);
    fs::create_dir(folder.path().join(FOLDER_OF_OTHERS)).unwrap();
    for (name, source) in [("tool_use.jinja", "tools"), ("rag.jinja", "documents"), ("notes.txt", "{% if %}")]
    {
        fs::write(folder.path().join(FOLDER_OF_OTHERS).join(name), source).unwrap();
    }
    let template = Template::load(folder.path(), &golden_tokenizer()).unwrap();
    let documents = vec![json!({ "text": "noon" }).as_object().unwrap().clone()];
    for (conversation, expected) in [
        (hello(), "plain"),
        (hello_with_tool(), "tools"),
        (Conversation { documents: documents.clone(), ..hello() }, "documents"),
        (Conversation { documents, ..hello_with_tool() }, "tools"),
    ] {
        assert_eq!(template.render(&conversation, &new_year()).unwrap(), expected);
    }
}

#[test]
fn a_message_that_is_not_written_cannot_go_on() {
    let template = load("{{ messages[0].role }}").unwrap();
    let continued =
        |messages| Conversation { messages, opening: Opening::Continued, ..Conversation::default() };
    for (messages, expected) in [
        (vec![], "there is no last message that could go on"),
        (vec![Message::new(Role::Assistant, "I")], "it does not write the last message, which is to go on"),
    ] {
        let error = template.render(&continued(messages), &new_year()).unwrap_err();
        assert!(error.to_string().ends_with(expected), "{error}");
    }
}

#[test]
fn a_client_cannot_set_what_the_conversation_sets() {
    let variables = json!({ "messages": [], "tools": 1, "add_generation_prompt": false, "bos_token": "!" });
    let conversation = Conversation { variables: variables.as_object().unwrap().clone(), ..hello() };
    let template =
        load("{{ messages | length }}{{ tools is none }}{{ add_generation_prompt }}{{ bos_token }}");
    assert_eq!(template.unwrap().render(&conversation, &new_year()).unwrap(), "1TrueTrue!");
}
