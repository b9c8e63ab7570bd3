//! Parity with transformers over the golden cases, and what a model folder may look like.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use jiff::ZonedDateTime;
use jiff::civil::date;
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::template::Given;
use super::*;

fn golden_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tokenizer")
}

fn golden_json(name: &str) -> Value {
    serde_json::from_slice(&fs::read(golden_folder().join(name)).unwrap()).unwrap()
}

/// Joins neighbouring pieces of a kind, whose cuts mean nothing.
pub(super) fn joined(emissions: Vec<Emission>) -> Vec<Emission> {
    let mut joined: Vec<Emission> = Vec::new();
    for emission in emissions {
        match (joined.last_mut(), emission) {
            (Some(Emission::Text(before)), Emission::Text(more))
            | (Some(Emission::Reasoning(before)), Emission::Reasoning(more))
            | (Some(Emission::Arguments(before)), Emission::Arguments(more)) => before.push_str(&more),
            (_, emission) => joined.push(emission),
        }
    }
    joined
}

pub(super) fn golden_tokenizer() -> Arc<Tokenizer> {
    static TOKENIZER: OnceLock<Arc<Tokenizer>> = OnceLock::new();
    TOKENIZER.get_or_init(|| Arc::new(Tokenizer::load(&golden_folder()).unwrap())).clone()
}

/// The token that stands for one byte alone. Byte-level vocabularies write a byte that does not print as one
/// of the code points from 256 on.
pub(super) fn golden_byte_token(byte: u8) -> u32 {
    static TOKENS: OnceLock<HashMap<u8, u32>> = OnceLock::new();
    let tokens = TOKENS.get_or_init(|| {
        let vocabulary = &golden_json("tokenizer.json")["model"]["vocab"];
        let prints = |byte: u8| matches!(byte, 33..=126 | 161..=172 | 174..);
        let others = (0..=255).filter(|&byte| !prints(byte)).zip(256_u32..);
        let written =
            (0..=255).filter(|&byte| prints(byte)).map(|byte| (byte, u32::from(byte))).chain(others);
        let token = |code_point| {
            let text = char::from_u32(code_point).unwrap().to_string();
            u32::try_from(vocabulary[&text].as_u64().unwrap()).unwrap()
        };
        written.map(|(byte, code_point)| (byte, token(code_point))).collect()
    });
    tokens[&byte]
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

pub(super) fn new_year() -> ZonedDateTime {
    date(2024, 1, 5).at(9, 30, 0, 0).to_zoned_datetime(TimeZone::UTC).unwrap()
}

fn golden_template() -> Template {
    Template::load(&golden_folder(), &golden_tokenizer()).unwrap()
}

fn conversation(case: &Value) -> Conversation {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let entries = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let call = |call: &Value| {
        let arguments = &call["function"]["arguments"];
        ToolCall {
            id: text(&call["id"]).unwrap(),
            name: text(&call["function"]["name"]).unwrap(),
            arguments: text(arguments).unwrap_or_else(|| arguments.to_string()),
        }
    };
    let roles = [Role::System, Role::User, Role::Assistant, Role::Tool];
    let message = |message: &Value| Message {
        role: *roles.iter().find(|role| message["role"] == role.as_str()).unwrap(),
        content: text(&message["content"]).unwrap_or_default(),
        tool_calls: entries(&message["tool_calls"]).iter().map(call).collect(),
        tool_call_id: text(&message["tool_call_id"]),
        name: None,
    };
    let tool = |tool: &Value| Tool {
        name: text(&tool["function"]["name"]).unwrap(),
        description: text(&tool["function"]["description"]),
        parameters: tool["function"]["parameters"].clone(),
    };
    Conversation {
        messages: entries(&case["messages"]).iter().map(message).collect(),
        tools: entries(&case["tools"]).iter().map(tool).collect(),
        ..Conversation::default()
    }
}

#[test]
fn texts_encode_as_transformers_encodes_them() {
    let cases = golden_json("ref.json")["encode"].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    for case in cases {
        let text = case["text"].as_str().unwrap();
        assert_eq!(golden_tokenizer().encode(text).unwrap(), ids(&case["ids"]), "{text:?}");
    }
}

#[test]
fn tokens_decode_as_transformers_decodes_them() {
    let special = 506..=509;
    let mut seen = 0;
    for case in golden_json("ref.json")["decode"].as_array().unwrap() {
        let ids = ids(&case["ids"]);
        // Ours always skips special tokens, so the cases which keep some are another function's.
        if case["skip_special_tokens"] == true || !ids.iter().any(|id| special.contains(id)) {
            assert_eq!(golden_tokenizer().decode(&ids), case["text"].as_str().unwrap(), "{ids:?}");
            seen += 1;
        }
    }
    assert!(seen > 20, "only {seen} cases apply");
}

#[test]
fn chats_render_and_encode_as_transformers_does_it() {
    let cases = golden_json("ref.json")["chat"].as_array().unwrap().clone();
    assert!(!cases.is_empty());
    for case in cases {
        let (messages, tools) = (case["messages"].clone(), case["tools"].clone());
        let given = Given { messages, tools, ..Given::default() };
        let rendered = golden_template().render_json(given, &new_year()).unwrap();
        let expected = case["rendered"].as_str().unwrap();
        if case["add_generation_prompt"] == true {
            assert_eq!(rendered, expected);
            assert_eq!(golden_tokenizer().encode(&rendered).unwrap(), ids(&case["ids"]), "{expected}");
        } else {
            assert_eq!(rendered.strip_suffix("<|im_start|>assistant\n").unwrap(), expected);
        }
    }
}

#[test]
fn conversations_render_like_the_messages_they_stand_for() {
    let cases = golden_json("ref.json")["chat"].as_array().unwrap().clone();
    let mut seen = 0;
    for case in cases.iter().filter(|case| case["add_generation_prompt"] == true) {
        // One golden tool has fields that no dialect has.
        if case["tools"]
            .as_array()
            .is_some_and(|tools| tools.iter().any(|tool| tool["function"]["limit"].is_number()))
        {
            continue;
        }
        let rendered = golden_template().render(&conversation(case), &new_year()).unwrap();
        assert_eq!(rendered, case["rendered"].as_str().unwrap());
        seen += 1;
    }
    assert!(seen >= 8, "only {seen} cases apply");
}

#[test]
fn a_refusal_is_in_the_templates_own_words() {
    for case in golden_json("ref.json")["chat_refused"].as_array().unwrap() {
        let given = Given { messages: case["messages"].clone(), ..Given::default() };
        let error = golden_template().render_json(given, &new_year()).unwrap_err();
        let TextError::Template(message) = error else { panic!("{error:?}") };
        assert_eq!(message, case["error"].as_str().unwrap());
    }
}

/// A folder with the golden tokenizer and the given files; `Value::Null` leaves a file out.
fn model_folder(files: &[(&str, Value)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::copy(golden_folder().join("tokenizer.json"), folder.path().join("tokenizer.json")).unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content.to_string()).unwrap();
    }
    folder
}

fn end_tokens(folder: &TempDir) -> Vec<u32> {
    let tokenizer = Tokenizer::load(folder.path()).unwrap();
    (0..600).filter(|&token| tokenizer.is_eos(token)).collect()
}

#[test]
fn every_file_that_names_an_end_token_counts() {
    let folder = model_folder(&[
        ("tokenizer_config.json", json!({"eos_token": {"content": "<|im_end|>", "lstrip": false}})),
        ("config.json", json!({"eos_token_id": 7, "text_config": {"eos_token_id": [8, 9]}})),
        ("generation_config.json", json!({"eos_token_id": [7, 507]})),
    ]);
    assert_eq!(end_tokens(&folder), [7, 8, 9, 507, 509]);
}

#[test]
fn one_file_that_names_an_end_token_is_enough() {
    let folder = model_folder(&[("tokenizer_config.json", json!({"eos_token": "<|endoftext|>"}))]);
    assert_eq!(end_tokens(&folder), [507]);
    let folder = model_folder(&[
        ("tokenizer_config.json", json!({})),
        ("generation_config.json", json!({"eos_token_id": 3})),
    ]);
    assert_eq!(end_tokens(&folder), [3]);
}

#[test]
fn a_model_without_an_end_token_is_refused() {
    let folder = model_folder(&[("tokenizer_config.json", json!({"eos_token": null}))]);
    let error = Tokenizer::load(folder.path()).unwrap_err();
    assert!(matches!(error, TextError::NoEndToken { .. }), "{error}");
}

#[test]
fn a_missing_or_damaged_file_is_named() {
    let folder = model_folder(&[]);
    let missing = Tokenizer::load(folder.path()).unwrap_err().to_string();
    assert!(missing.contains("tokenizer_config.json cannot be read; copy it"), "{missing}");

    fs::write(folder.path().join("tokenizer.json"), "{\"model\":").unwrap();
    let damaged = Tokenizer::load(folder.path()).unwrap_err().to_string();
    assert!(damaged.contains("tokenizer.json is damaged"), "{damaged}");
}

#[test]
fn a_tokenizer_that_pads_and_cuts_does_so_no_more() {
    let mut tokenizer = golden_json("tokenizer.json");
    tokenizer["truncation"] =
        json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
    tokenizer["padding"] = json!({
        "strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
        "pad_id": 507, "pad_type_id": 0, "pad_token": "<|endoftext|>",
    });
    let folder = model_folder(&[
        ("tokenizer_config.json", json!({"eos_token": "<|im_end|>"})),
        ("tokenizer.json", tokenizer),
    ]);
    let encoded = Tokenizer::load(folder.path()).unwrap().encode("The gate is shut.").unwrap();
    assert_eq!(encoded, golden_tokenizer().encode("The gate is shut.").unwrap());
}

#[test]
fn a_text_that_stands_alone_has_its_begin_token_once() {
    let mut processed = golden_json("tokenizer.json");
    processed["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [{ "SpecialToken": { "id": "<|endoftext|>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
        "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
        "special_tokens": { "<|endoftext|>": { "id": "<|endoftext|>", "ids": [507], "tokens": ["<|endoftext|>"] } },
    });
    let mut plain = processed.clone();
    plain["post_processor"] = Value::Null;
    let words = golden_tokenizer().encode("The gate").unwrap();
    let begun = [&[507], words.as_slice()].concat();
    for (file, asked, expected) in [
        (&plain, Value::Null, &words),
        (&plain, json!(false), &words),
        (&plain, json!(true), &begun),
        (&processed, Value::Null, &begun),
        (&processed, json!(true), &begun),
        (&processed, json!(false), &words),
    ] {
        let settings =
            json!({ "eos_token": "<|im_end|>", "bos_token": "<|endoftext|>", "add_bos_token": asked });
        let folder = model_folder(&[("tokenizer_config.json", settings), ("tokenizer.json", file.clone())]);
        let tokenizer = Tokenizer::load(folder.path()).unwrap();
        assert_eq!(tokenizer.encode_alone("The gate").unwrap(), *expected, "{asked}");
        assert_eq!(
            tokenizer.encode_alone("<|endoftext|>The gate").unwrap(),
            begun,
            "{asked}, written as well"
        );
        assert_eq!(tokenizer.encode("The gate").unwrap(), words, "a rendered chat");
    }
}
