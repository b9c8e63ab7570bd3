//! Calls that agents make, for the tests of everything that is written from a call.

use serde_json::{Value, json};
use wire::call::{
    Block, CacheMark, Call, Content, Document, Image, Lost, Outgoing, Reasoning, Role, Seal, Source, Tool,
    ToolCall, ToolKind, ToolResult, Turn,
};

pub(crate) fn user(text: &str) -> Turn {
    Turn::new(Role::User, vec![Block::text(text)])
}

pub(crate) fn assistant(text: &str) -> Turn {
    Turn::new(Role::Assistant, vec![Block::text(text)])
}

pub(crate) fn system(text: &str) -> Turn {
    Turn::new(Role::System, vec![Block::text(text)])
}

pub(crate) fn turn(role: Role, contents: Vec<Content>) -> Turn {
    Turn::new(role, contents.into_iter().map(Block::from).collect())
}

/// A call of nothing but `turns`.
pub(crate) fn call(turns: Vec<Turn>) -> Call {
    Call { model: "agent-model".to_owned(), turns, ..Call::default() }
}

pub(crate) fn function(name: &str, parameters: Value) -> Tool {
    Tool {
        name: name.to_owned(),
        description: Some(format!("The tool {name}.")),
        kind: ToolKind::Function { parameters, strict: None },
        cache: None,
    }
}

pub(crate) fn path_schema() -> Value {
    json!({ "type": "object", "properties": { "path": { "type": "string" } }, "required": ["path"] })
}

pub(crate) fn tool_call(id: &str, name: &str, arguments: &str) -> Content {
    Content::ToolCall(ToolCall { id: id.to_owned(), name: name.to_owned(), arguments: arguments.to_owned() })
}

pub(crate) fn tool_result(call_id: &str, text: &str) -> Content {
    result_of(call_id, vec![Block::text(text)], false)
}

pub(crate) fn result_of(call_id: &str, content: Vec<Block>, is_error: bool) -> Content {
    Content::ToolResult(ToolResult { call_id: call_id.to_owned(), name: None, content, is_error })
}

pub(crate) fn picture() -> Content {
    let source = Source::Inline { media_type: "image/png".to_owned(), data: "iVBORw0KGgo=".to_owned() };
    Content::Image(Image { source, detail: None })
}

pub(crate) fn picture_at(source: Source) -> Content {
    Content::Image(Image { source, detail: None })
}

pub(crate) fn document(media_type: &str, name: Option<&str>) -> Content {
    let source = Source::Inline { media_type: media_type.to_owned(), data: "JVBERi0=".to_owned() };
    Content::Document(Document { source, name: name.map(str::to_owned) })
}

pub(crate) fn thought(text: &str, issuer: &str, seal: &str) -> Content {
    let seal = Some(Seal::of(issuer, seal));
    Content::Reasoning(Reasoning { text: text.to_owned(), seal, is_redacted: text.is_empty() })
}

/// A turn of an agent that reads two files at once, one of which is not there and one of which is a picture.
pub(crate) fn agent() -> Call {
    let mut instructions = system("You edit files.");
    instructions.blocks[0].cache = Some(CacheMark::OneHour);
    let mut question = user("What is in a and b?");
    question.blocks[0].cache = Some(CacheMark::Default);
    let calls = vec![
        Content::Text("I look.".to_owned()),
        tool_call("call_1", "read", r#"{"path":"a"}"#),
        tool_call("call_2", "list", ""),
    ];
    let results = vec![
        result_of("call_1", vec![Block::text("no such file")], true),
        result_of("call_2", vec![Block::text("b.png"), picture().into()], false),
    ];
    Call {
        tools: vec![function("read", path_schema()), function("list", json!({}))],
        max_tokens: Some(4096),
        stop: vec!["STOP".to_owned()],
        ..call(vec![
            instructions,
            question,
            turn(Role::Assistant, calls),
            turn(Role::User, results),
            user("Go on."),
        ])
    }
}

/// What was written, for golden files: the body, and what it does not say.
pub(crate) fn written(outgoing: &Outgoing) -> String {
    let body: Value = serde_json::from_slice(&outgoing.body).expect("a body is JSON");
    format!("{body:#}\nlost: {}", lost(&outgoing.lost))
}

pub(crate) fn lost(lost: &Lost) -> String {
    lost.names().collect::<Vec<_>>().join(", ")
}

pub(crate) fn body(outgoing: &Outgoing) -> Value {
    serde_json::from_slice(&outgoing.body).expect("a body is JSON")
}
