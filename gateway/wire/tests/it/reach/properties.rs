//! Whatever a request is like, one thing hidden anywhere in it is found there, and nothing else is.

use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use serde_json::Value;
use wire::{Dialect, IndirectKind};

use super::{
    CallerDestination, FileId, HostedTool, RemoteUrl, StoredState, UnknownField, UnknownPart, UnknownTool,
    found, parse,
};

/// What requests of one dialect consist of.
#[derive(Debug)]
struct Pieces {
    dialect: Dialect,
    /// The member with the conversation, if there is one.
    conversation: Option<&'static str>,
    turns: &'static [&'static str],
    tools: &'static [&'static str],
    members: &'static [&'static str],
}

const CHAT: Pieces = Pieces {
    dialect: Dialect::OpenAiChat,
    conversation: Some("messages"),
    turns: &[
        r#"{"role":"system","content":"see https://host/a"}"#,
        r#"{"role":"user","content":[{"type":"text","text":"//host"},{"type":"image_url","image_url":{"url":"data:image/png;base64,AA==","detail":"low"}}]}"#,
        r#"{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"//uQ","format":"mp3"}}],"name":"ann"}"#,
        r#"{"role":"assistant","content":null,"reasoning_content":"hm","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]}"#,
        r#"{"role":"tool","tool_call_id":"c","content":[{"type":"text","text":"done"}]}"#,
    ],
    tools: &[
        r#"{"type":"function","function":{"name":"f","parameters":{"type":"object","$schema":"https://json-schema.org/x"}}}"#,
        r#"{"type":"custom","custom":{"name":"g","format":{"type":"text"}}}"#,
    ],
    members: &[
        r#"{"temperature":0.5}"#,
        r#"{"store":false}"#,
        r#"{"metadata":{"api_base":"https://host"}}"#,
        r#"{"stop":["END"]}"#,
        r#"{"tool_choice":"auto"}"#,
        r#"{"response_format":{"type":"json_schema","json_schema":{"name":"s","schema":{}}}}"#,
        r#"{"min_p":0.1}"#,
        r#"{"api_key":null}"#,
    ],
};

const RESPONSES: Pieces = Pieces {
    dialect: Dialect::OpenAiResponses,
    conversation: Some("input"),
    turns: &[
        r#"{"role":"user","content":"https://host/a"}"#,
        r#"{"type":"message","id":"m","role":"user","content":[{"type":"input_text","text":"a"},{"type":"input_image","image_url":"data:,a"}]}"#,
        r#"{"type":"function_call","call_id":"c","name":"f","arguments":"{\"url\":\"https://host\"}"}"#,
        r#"{"type":"function_call_output","call_id":"c","output":[{"type":"input_text","text":"a"}]}"#,
        r#"{"type":"reasoning","id":"r","summary":[{"type":"summary_text","text":"a"}]}"#,
        r#"{"type":"message","role":"assistant","content":[{"type":"output_text","text":"a","annotations":[{"type":"url_citation","url":"https://host"}]}]}"#,
    ],
    tools: &[
        r#"{"type":"function","name":"f","parameters":{"type":"object"}}"#,
        r#"{"type":"custom","name":"g"}"#,
        r#"{"type":"namespace","name":"n","description":"d","tools":[{"type":"function","name":"h","parameters":{}}]}"#,
        r#"{"type":"local_shell"}"#,
    ],
    members: &[
        r#"{"store":false}"#,
        r#"{"reasoning":{"effort":"low"}}"#,
        r#"{"include":["reasoning.encrypted_content"]}"#,
        r#"{"client_metadata":{"webhook":"https://host"}}"#,
        r#"{"text":{"verbosity":"low"}}"#,
        r#"{"previous_response_id":"r"}"#,
    ],
};

const MESSAGES: Pieces = Pieces {
    dialect: Dialect::AnthropicMessages,
    conversation: Some("messages"),
    turns: &[
        r#"{"role":"user","content":"https://host/a"}"#,
        r#"{"role":"user","content":[{"type":"text","text":"a"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA=="}}]}"#,
        r#"{"role":"assistant","content":[{"type":"thinking","thinking":"a","signature":"b"},{"type":"tool_use","id":"t","name":"f","input":{"url":"https://host"}}]}"#,
        r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":[{"type":"text","text":"a"}]}]}"#,
        r#"{"role":"user","content":[{"type":"document","title":"d","source":{"type":"content","content":[{"type":"text","text":"a"}]}}]}"#,
    ],
    tools: &[
        r#"{"name":"f","input_schema":{"type":"object","properties":{"type":{"const":"mcp"}}}}"#,
        r#"{"type":"bash_20250124","name":"bash"}"#,
        r#"{"type":"computer_20251124","name":"computer","display_width_px":9,"display_height_px":9}"#,
    ],
    members: &[
        r#"{"max_tokens":9}"#,
        r#"{"system":[{"type":"text","text":"a","cache_control":{"type":"ephemeral"}}]}"#,
        r#"{"metadata":{"user_id":"https://host"}}"#,
        r#"{"thinking":{"type":"adaptive"}}"#,
        r#"{"mcp_servers":[]}"#,
        r#"{"tool_choice":{"type":"auto"}}"#,
    ],
};

const COMPLETIONS: Pieces = Pieces {
    dialect: Dialect::OpenAiCompletions,
    conversation: None,
    turns: &[],
    tools: &[],
    members: &[r#"{"prompt":"https://host/a"}"#, r#"{"max_tokens":9}"#, r#"{"echo":true}"#, r#"{"top_k":4}"#],
};

const EMBEDDINGS: Pieces = Pieces {
    dialect: Dialect::OpenAiEmbeddings,
    conversation: None,
    turns: &[],
    tools: &[],
    members: &[r#"{"dimensions":9}"#, r#"{"user":"https://host/a"}"#, r#"{"encoding_format":"base64"}"#],
};

/// A thing to hide: what it is, and where in it the kind stands.
#[derive(Debug, Clone, Copy)]
struct Thing {
    json: &'static str,
    kind: IndirectKind,
    within: &'static str,
}

const fn thing(json: &'static str, kind: IndirectKind, within: &'static str) -> Thing {
    Thing { json, kind, within }
}

/// Members for any object.
const MEMBERS: [(&str, Thing); 9] = [
    ("api_base", thing(r#""https://host""#, CallerDestination, "")),
    ("Extra-Headers", thing(r#"{"x":"y"}"#, CallerDestination, "")),
    ("google_search", thing("{}", HostedTool, "")),
    ("previous_response_ID", thing(r#""r""#, StoredState, "")),
    ("file_ids", thing(r#"["f"]"#, FileId, "")),
    ("tYpe", thing(r#""text""#, UnknownField, "")),
    ("nobody_knows", thing("0", UnknownField, "")),
    ("nobody_knows", thing(r#"{"a":[{"b":"HTTPS://host"}]}"#, RemoteUrl, ".a[0].b")),
    ("nobody_knows", thing(r#"[{"mcp_servers":[{}]}]"#, HostedTool, "[0].mcp_servers")),
];

/// Parts for any list of content.
fn parts(dialect: Dialect) -> Vec<Thing> {
    let mut parts = vec![
        thing(r#"{"type":"hologram","at":"a"}"#, UnknownPart, ".type"),
        thing(r#"{"at":"file:/a","type":"hologram"}"#, RemoteUrl, ".at"),
    ];
    parts.extend(match dialect {
        Dialect::OpenAiChat => vec![
            thing(r#"{"type":"image_url","image_url":{"url":"http://host"}}"#, RemoteUrl, ".image_url.url"),
            thing(r#"{"type":"file","file":{"file_id":"f"}}"#, FileId, ".file.file_id"),
        ],
        Dialect::OpenAiResponses => vec![
            thing(r#"{"type":"input_image","image_url":"s3://a/b"}"#, RemoteUrl, ".image_url"),
            thing(r#"{"type":"input_file","file_id":"f"}"#, FileId, ".file_id"),
        ],
        _ => {
            let json = r#"{"type":"image","source":{"type":"url","url":"http://host"}}"#;
            vec![thing(json, RemoteUrl, ".source.url")]
        }
    });
    parts
}

/// Tools for any list of tools.
fn tools(dialect: Dialect) -> Vec<Thing> {
    let hosted = match dialect {
        Dialect::OpenAiResponses => {
            let json = r#"{"type":"mcp","server_label":"s","server_url":"u"}"#;
            thing(json, CallerDestination, ".server_url")
        }
        Dialect::AnthropicMessages => thing(r#"{"type":"web_fetch_20250910"}"#, HostedTool, ""),
        _ => thing(r#"{"type":"web_search"}"#, HostedTool, ""),
    };
    vec![thing(r#"{"type":"teleport"}"#, UnknownTool, ".type"), hosted]
}

/// Members whose objects are the caller's data, or settings that nobody looks into.
const DATA: [&str; 21] = [
    "action",
    "annotations",
    "arguments",
    "cache_control",
    "citations",
    "client_metadata",
    "format",
    "include",
    "input_schema",
    "json_schema",
    "metadata",
    "parameters",
    "reasoning",
    "response_format",
    "stop",
    "summary",
    "text",
    "thinking",
    "tool_choice",
    "mcp_servers",
    "prompt",
];

/// A place in a document: for `pointer_mut`, and as paths are written.
#[derive(Debug, Clone, Default)]
struct Spot {
    pointer: String,
    path: String,
}

#[derive(Debug, Default)]
struct Spots {
    objects: Vec<Spot>,
    parts: Vec<Spot>,
    tools: Vec<Spot>,
}

impl Spots {
    fn collect(&mut self, value: &Value, spot: &Spot) {
        match value {
            Value::Object(members) => {
                self.objects.push(spot.clone());
                for (name, value) in members {
                    // The arguments of a call are an object, the conversation is a list.
                    if DATA.contains(&name.as_str()) || name == "input" && value.is_object() {
                        continue;
                    }
                    let joint = if spot.path.is_empty() { "" } else { "." };
                    let pointer = format!("{}/{name}", spot.pointer);
                    let spot = Spot { pointer, path: format!("{}{joint}{name}", spot.path) };
                    match name.as_str() {
                        "content" | "output" if value.is_array() => self.parts.push(spot.clone()),
                        // The members of a namespace are functions alone.
                        "tools" if spot.path == "tools" => self.tools.push(spot.clone()),
                        _ => {}
                    }
                    self.collect(value, &spot);
                }
            }
            Value::Array(elements) => {
                for (index, value) in elements.iter().enumerate() {
                    let pointer = format!("{}/{index}", spot.pointer);
                    self.collect(value, &Spot { pointer, path: format!("{}[{index}]", spot.path) });
                }
            }
            _ => {}
        }
    }
}

fn pieces() -> impl Strategy<Value = &'static Pieces> {
    static ALL: [Pieces; 5] = [CHAT, RESPONSES, MESSAGES, COMPLETIONS, EMBEDDINGS];
    (0..ALL.len()).prop_map(|index| &ALL[index])
}

fn requests() -> impl Strategy<Value = (Dialect, Value)> {
    pieces().prop_flat_map(|pieces| {
        let turns = match pieces.turns {
            [] => Just(Vec::new()).boxed(),
            turns => prop::collection::vec(select(turns), 1..6).boxed(),
        };
        let tools = subsequence(pieces.tools, 0..=pieces.tools.len());
        let members = subsequence(pieces.members, 0..=pieces.members.len());
        (turns, tools, members).prop_map(|(turns, tools, members)| {
            let mut body = parse(r#"{"model":"m"}"#);
            for member in members {
                let Value::Object(member) = parse(member) else { unreachable!("a member is an object") };
                body.as_object_mut().expect("an object").extend(member);
            }
            let list = |pieces: &[&str]| Value::from(pieces.iter().copied().map(parse).collect::<Vec<_>>());
            if let Some(name) = pieces.conversation {
                body[name] = list(&turns);
                body["tools"] = list(&tools);
            }
            if pieces.dialect == Dialect::OpenAiEmbeddings {
                body["input"] = "https://host/a".into();
            }
            (pieces.dialect, body)
        })
    })
}

/// Hides a thing in a list, and returns where.
fn hide_in_list(body: &mut Value, spot: &Spot, json: &str, at: Index) -> String {
    let list = body.pointer_mut(&spot.pointer).and_then(Value::as_array_mut).expect("it is a list");
    let index = at.index(list.len() + 1);
    list.insert(index, parse(json));
    format!("{}[{index}]", spot.path)
}

proptest! {
    #[test]
    fn a_request_that_asks_nothing_of_others_is_let_alone((dialect, body) in requests()) {
        let found = found(dialect, &body.to_string());
        prop_assert!(found.is_empty(), "{:?} in {}", found, body);
    }

    #[test]
    fn one_thing_hidden_anywhere_is_found(
        (dialect, body) in requests(),
        what in 0..3_usize,
        which in any::<Index>(),
        place in any::<Index>(),
        at in any::<Index>(),
    ) {
        let mut spots = Spots::default();
        spots.collect(&body, &Spot::default());
        let mut body = body;
        let (thing, path) = match what {
            0 if !spots.parts.is_empty() => {
                let thing = *which.get(&parts(dialect));
                (thing, hide_in_list(&mut body, place.get(&spots.parts), thing.json, at))
            }
            1 if !spots.tools.is_empty() => {
                let thing = *which.get(&tools(dialect));
                (thing, hide_in_list(&mut body, place.get(&spots.tools), thing.json, at))
            }
            _ => {
                let (name, thing) = *which.get(&MEMBERS);
                let spot = place.get(&spots.objects);
                body.pointer_mut(&spot.pointer).expect("it is there")[name] = parse(thing.json);
                let joint = if spot.path.is_empty() { "" } else { "." };
                (thing, format!("{}{joint}{name}", spot.path))
            }
        };
        let found = found(dialect, &body.to_string());
        let expected = (thing.kind, format!("{path}{}", thing.within));
        prop_assert!(found.contains(&expected), "{:?} is not in {:?} of {}", expected, found, body);
    }
}
