//! The conversation of a request: messages and the blocks that they consist of.
//!
//! Kinds of blocks that the API may grow later, and those that only it has, are kept as they were written.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::extras::Extras;
use super::request::read_cache;
use crate::ParseError;
use crate::call::{
    Block, Content, Document, Image, Reasoning, Role, Seal, Source, ToolCall, ToolResult, Turn,
};
use crate::json::read::{self, Object};

/// Where members of blocks stand, for the names of extras.
const CONTENT: &str = "messages[].content[].";

/// Reads `system`: text, or blocks of text.
pub(super) fn read_system(raw: &RawValue, extras: &Extras) -> Result<Vec<Block>, ParseError> {
    match read::type_name(raw) {
        "a string" => Ok(text_of(&read::string(raw)?)),
        "a list" => read::each(raw, |raw| read_text_block(raw, "system[].", extras)),
        other => Err(ParseError::wrong_type("a string or a list of blocks of text", other)),
    }
}

/// Reads `messages`.
pub(super) fn read_turns(raw: &RawValue, extras: &Extras) -> Result<Vec<Turn>, ParseError> {
    let turns = read::each(raw, |raw| read_message(raw, extras))?;
    if turns.is_empty() {
        return Err(ParseError::bad_value("must not be empty"));
    }
    Ok(turns.into_iter().flatten().collect())
}

/// Reads one message; instructions in the middle of it divide it into several turns.
fn read_message(raw: &RawValue, extras: &Extras) -> Result<Vec<Turn>, ParseError> {
    let message = Object::read(raw)?;
    extras.keep("messages[].", &message, &["role", "content"]);
    let role = message.required("role", read_role)?;
    if role == Role::System {
        let blocks = message.required("content", |raw| read_system(raw, extras))?;
        // Instructions that say nothing are no turn.
        return Ok(if blocks.is_empty() { Vec::new() } else { vec![Turn::new(role, blocks)] });
    }
    let pieces = message.required("content", |raw| match read::type_name(raw) {
        "a string" => Ok(vec![Piece::Block(Block::text(read::string(raw)?))]),
        "a list" => read::each(raw, |raw| read_piece(raw, role, extras)),
        other => Err(ParseError::wrong_type("a string or a list of blocks", other)),
    })?;
    let mut turns: Vec<Turn> = Vec::new();
    for piece in pieces {
        match (piece, turns.last_mut()) {
            (Piece::Block(block), Some(turn)) if turn.role == role => turn.blocks.push(block),
            (Piece::Block(block), _) => turns.push(Turn::new(role, vec![block])),
            (Piece::Instructions(blocks), _) if blocks.is_empty() => {}
            (Piece::Instructions(blocks), _) => turns.push(Turn::new(Role::System, blocks)),
        }
    }
    match (turns.is_empty(), role) {
        (true, Role::Assistant) => Ok(vec![Turn::new(role, Vec::new())]),
        (true, _) => Err(ParseError::bad_value("must not be empty").under_key("content")),
        (false, _) => Ok(turns),
    }
}

fn read_role(raw: &RawValue) -> Result<Role, ParseError> {
    match read::string(raw)?.as_str() {
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        // Not in the first position only: agents change their instructions on the way.
        "system" => Ok(Role::System),
        _ => Err(ParseError::bad_value("must be `user`, `assistant` or `system`")),
    }
}

enum Piece {
    Block(Block),
    Instructions(Vec<Block>),
}

fn read_piece(raw: &RawValue, role: Role, extras: &Extras) -> Result<Piece, ParseError> {
    let block = Object::read(raw)?;
    let kind = block.required("type", read::string)?;
    if kind == "mid_conv_system" {
        extras.keep(CONTENT, &block, &["type", "content", "cache_control"]);
        let mut blocks = block.required("content", |raw| read_system(raw, extras))?;
        let cache = block.optional("cache_control", read_cache)?;
        if let Some(last) = blocks.last_mut() {
            last.cache = last.cache.or(cache);
        }
        return Ok(Piece::Instructions(blocks));
    }
    let belongs_to = match kind.as_str() {
        "tool_result" => Some((Role::User, "user")),
        "tool_use" | "thinking" | "redacted_thinking" => Some((Role::Assistant, "assistant")),
        _ => None,
    };
    if let Some((_, name)) = belongs_to.filter(|(owner, _)| *owner != role) {
        let reason = format!("a block of this type belongs in a message of the role `{name}`");
        return Err(ParseError::bad_value(reason).under_key("type"));
    }
    let cache = block.optional("cache_control", read_cache)?;
    Ok(Piece::Block(Block { content: read_content(raw, &block, kind, extras)?, cache }))
}

fn read_content(
    raw: &RawValue,
    block: &Object<'_>,
    kind: String,
    extras: &Extras,
) -> Result<Content, ParseError> {
    let keep = |known: &[&str]| {
        extras.keep(CONTENT, block, &[known, &["type", "cache_control"]].concat());
    };
    Ok(match kind.as_str() {
        "text" => {
            keep(&["text"]);
            Content::Text(block.required("text", read::string)?)
        }
        "image" => match block.required("source", read_source)? {
            Some(source) => {
                keep(&["source"]);
                Content::Image(Image { source, detail: None })
            }
            None => other(raw, kind),
        },
        "document" => match block.required("source", read_source)? {
            Some(source) => {
                keep(&["source", "title"]);
                Content::Document(Document { source, name: block.optional("title", read::string)? })
            }
            None => other(raw, kind),
        },
        "tool_use" => {
            keep(&["id", "name", "input"]);
            Content::ToolCall(read_tool_call(block)?)
        }
        "tool_result" => {
            keep(&["tool_use_id", "content", "is_error"]);
            Content::ToolResult(read_tool_result(block, extras)?)
        }
        "thinking" => {
            keep(&["thinking", "signature"]);
            let seal = block.optional("signature", read::string)?;
            let text = block.required("thinking", read::string)?;
            Content::Reasoning(Reasoning {
                text,
                seal: seal.and_then(|seal| seal_of(&seal)),
                is_redacted: false,
            })
        }
        "redacted_thinking" => {
            keep(&["data"]);
            let seal = seal_of(&block.required("data", read::string)?);
            Content::Reasoning(Reasoning { text: String::new(), seal, is_redacted: true })
        }
        _ => other(raw, kind),
    })
}

fn other(raw: &RawValue, kind: String) -> Content {
    Content::Other { kind, json: raw.get().to_owned() }
}

fn seal_of(text: &str) -> Option<Seal> {
    (!text.is_empty()).then(|| Seal::from_client(text))
}

fn text_of(text: &str) -> Vec<Block> {
    if text.is_empty() { Vec::new() } else { vec![Block::text(text)] }
}

fn read_text_block(raw: &RawValue, prefix: &str, extras: &Extras) -> Result<Block, ParseError> {
    let block = Object::read(raw)?;
    if block.required("type", read::string)? != "text" {
        return Err(ParseError::bad_value("must be `text`").under_key("type"));
    }
    extras.keep(prefix, &block, &["type", "text", "cache_control"]);
    let content = Content::Text(block.required("text", read::string)?);
    Ok(Block { content, cache: block.optional("cache_control", read_cache)? })
}

/// Reads where a picture or file is; nothing for a kind of source that a call has no place for.
fn read_source(raw: &RawValue) -> Result<Option<Source>, ParseError> {
    let source = Object::read(raw)?;
    let media_type = |source: &Object<'_>| source.required("media_type", read::non_empty_string);
    Ok(Some(match source.required("type", read::string)?.as_str() {
        "base64" => Source::Inline {
            media_type: media_type(&source)?,
            data: source.required("data", read::non_empty_string)?.split_ascii_whitespace().collect(),
        },
        "text" => Source::Inline {
            media_type: media_type(&source)?,
            data: STANDARD.encode(source.required("data", read::string)?),
        },
        "url" => Source::Url(source.required("url", read::non_empty_string)?),
        "file" => Source::Stored(source.required("file_id", read::non_empty_string)?),
        _ => return Ok(None),
    }))
}

fn read_tool_call(block: &Object<'_>) -> Result<ToolCall, ParseError> {
    Ok(ToolCall {
        id: block.required("id", read::non_empty_string)?,
        name: block.required("name", read::non_empty_string)?,
        arguments: block.required("input", |raw| {
            Object::read(raw)?;
            Ok(raw.get().to_owned())
        })?,
    })
}

fn read_tool_result(block: &Object<'_>, extras: &Extras) -> Result<ToolResult, ParseError> {
    let content = block.optional("content", |raw| match read::type_name(raw) {
        "a string" => Ok(text_of(&read::string(raw)?)),
        "a list" => read::each(raw, |raw| read_result_block(raw, extras)),
        other => Err(ParseError::wrong_type("a string or a list of blocks", other)),
    })?;
    Ok(ToolResult {
        call_id: block.required("tool_use_id", read::non_empty_string)?,
        name: None,
        content: content.unwrap_or_default(),
        is_error: block.optional("is_error", read::boolean)?.unwrap_or_default(),
    })
}

fn read_result_block(raw: &RawValue, extras: &Extras) -> Result<Block, ParseError> {
    let block = Object::read(raw)?;
    let kind = block.required("type", read::string)?;
    let cache = block.optional("cache_control", read_cache)?;
    let content = match kind.as_str() {
        "text" | "image" | "document" => read_content(raw, &block, kind, extras)?,
        // A result inside a result, or a thought, is nothing that a tool can give.
        "tool_result" | "tool_use" | "thinking" | "redacted_thinking" => {
            return Err(ParseError::bad_value("is no type of block that a result may hold").under_key("type"));
        }
        _ => other(raw, kind),
    };
    Ok(Block { content, cache })
}
