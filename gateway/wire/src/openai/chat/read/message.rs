//! The messages of a conversation.

use serde_json::value::RawValue;

use super::tool::read_tool_call;
use crate::ParseError;
use crate::call::{Block, Content, Document, Image, Reasoning, Role, Source, ToolCall, ToolResult, Turn};
use crate::json::read::{self, Object};

/// What an assistant may say instead of `content`.
const INSTEAD_OF_CONTENT: [&str; 5] = ["refusal", "function_call", "audio", "reasoning_content", "reasoning"];

pub(super) fn read_turns(raw: &RawValue) -> Result<Vec<Turn>, ParseError> {
    let turns = read::each(raw, read_message)?;
    if turns.is_empty() { Err(ParseError::bad_value("must not be empty")) } else { Ok(turns) }
}

fn read_message(raw: &RawValue) -> Result<Turn, ParseError> {
    let message = Object::read(raw)?;
    let role = message.required("role", read::string)?;
    let content = message.optional("content", read_content)?;
    let name = message.optional("name", read::string)?;
    let said = || message.required("content", |_| Ok(content.clone().unwrap_or_default()));
    let (role, blocks) = match role.as_str() {
        "system" | "developer" => (Role::System, said()?),
        "user" => (Role::User, said()?),
        "assistant" => (Role::Assistant, read_assistant(&message, content)?),
        "tool" => {
            let call_id = message.required("tool_call_id", read::string)?;
            let result = ToolResult { call_id, name: name.clone(), content: said()?, is_error: false };
            (Role::User, vec![Content::ToolResult(result).into()])
        }
        "function" => {
            // The retired form has no ids: the function's name is all that ties a result to its call.
            let call_id = message.required("name", read::string)?;
            let content = content.unwrap_or_default();
            let result = ToolResult { call_id, name: name.clone(), content, is_error: false };
            (Role::User, vec![Content::ToolResult(result).into()])
        }
        _ => {
            let reason = "must be `system`, `developer`, `user`, `assistant`, `tool` or `function`";
            return Err(ParseError::bad_value(reason).under_key("role"));
        }
    };
    Ok(Turn { role, name, blocks })
}

fn read_assistant(message: &Object<'_>, content: Option<Vec<Block>>) -> Result<Vec<Block>, ParseError> {
    let mut calls =
        message.optional("tool_calls", |raw| read::each(raw, read_tool_call))?.unwrap_or_default();
    calls.extend(message.optional("function_call", read_function_call)?);
    let may_be_silent = !calls.is_empty() || INSTEAD_OF_CONTENT.iter().any(|member| message.has(member));
    if content.is_none() && !may_be_silent {
        return Err(ParseError::missing().under_key("content"));
    }
    let mut blocks = Vec::new();
    // Two names that open servers chose; the API itself has neither.
    let reasoning = message.optional("reasoning_content", read::string)?;
    if let Some(text) = reasoning.or(message.optional("reasoning", read::string)?) {
        blocks.push(Content::Reasoning(Reasoning { text, ..Reasoning::default() }).into());
    }
    blocks.extend(content.unwrap_or_default());
    blocks.extend(message.optional("refusal", read::string)?.map(|words| Content::Refusal(words).into()));
    blocks.extend(calls.into_iter().map(|call| Content::ToolCall(call).into()));
    Ok(blocks)
}

fn read_function_call(raw: &RawValue) -> Result<ToolCall, ParseError> {
    let call = Object::read(raw)?;
    let name = call.required("name", read::string)?;
    Ok(ToolCall { id: name.clone(), name, arguments: call.required("arguments", read::string)? })
}

fn read_content(raw: &RawValue) -> Result<Vec<Block>, ParseError> {
    match read::type_name(raw) {
        "a string" => Ok(vec![Block::text(read::string(raw)?)]),
        "a list" => read::each(raw, read_part),
        other => Err(ParseError::wrong_type("a string or a list of parts", other)),
    }
}

fn read_part(raw: &RawValue) -> Result<Block, ParseError> {
    let part = Object::read(raw)?;
    let kind = part.required("type", read::string)?;
    let content = match kind.as_str() {
        "text" => Content::Text(part.required("text", read::string)?),
        "refusal" => Content::Refusal(part.required("refusal", read::string)?),
        "image_url" => Content::Image(part.required("image_url", read_image)?),
        "input_audio" => part.required("input_audio", read_audio)?,
        "file" => Content::Document(part.required("file", read_file)?),
        _ => Content::Other { kind, json: raw.get().to_owned() },
    };
    Ok(content.into())
}

fn read_image(raw: &RawValue) -> Result<Image, ParseError> {
    let image = Object::read(raw)?;
    let source = image.required("url", |raw| Ok(source_of_url(read::non_empty_string(raw)?)))?;
    Ok(Image { source, detail: image.optional("detail", read::string)? })
}

/// Tells bytes written into a `data:` URL from a URL that somebody has to fetch.
pub(in crate::openai) fn source_of_url(url: String) -> Source {
    let inline = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    match inline {
        Some((media_type, data)) => {
            Source::Inline { media_type: media_type.to_owned(), data: data.to_owned() }
        }
        None => Source::Url(url),
    }
}

fn read_audio(raw: &RawValue) -> Result<Content, ParseError> {
    let audio = Object::read(raw)?;
    Ok(Content::Audio {
        format: audio.required("format", read::string)?,
        data: audio.required("data", read::string)?,
    })
}

fn read_file(raw: &RawValue) -> Result<Document, ParseError> {
    let file = Object::read(raw)?;
    let name = file.optional("filename", read::string)?;
    let source = match file.optional("file_id", read::string)? {
        Some(id) => Source::Stored(id),
        None => file.required("file_data", |raw| Ok(source_of_url(read::string(raw)?)))?,
    };
    Ok(Document { source, name })
}
