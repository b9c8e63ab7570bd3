//! The items of a conversation, read into turns.
//!
//! What an assistant did in one go is a row of items here and one turn there: its reasoning, texts and calls are
//! joined, and so are the results of parallel calls. Items of later or hosted kinds are kept as they are; whether the
//! conversation still makes sense without them is asked by [`untranslatable`](super::untranslatable).

use serde_json::value::RawValue;

use super::extras::Extras;
use super::part::read_content;
use super::tools::Toolbox;
use crate::ParseError;
use crate::call::{Block, Content, Namespace, Reasoning, Role, Seal, ToolCall, ToolResult, Turn};
use crate::json::read::{self, Object};

/// A conversation as far as it is read, and the tools that its items bring along.
#[derive(Default)]
pub(super) struct Conversation {
    pub(super) turns: Vec<Turn>,
    pub(super) toolbox: Toolbox,
}

impl Conversation {
    /// Reads the member `input`.
    pub(super) fn read_input(&mut self, raw: &RawValue, extras: &mut Extras) -> Result<(), ParseError> {
        match read::type_name(raw) {
            "a string" => self.turns.push(Turn::new(Role::User, vec![Block::text(read::string(raw)?)])),
            "a list" => {
                for (index, item) in read::each(raw, Ok)?.into_iter().enumerate() {
                    self.read_item(item, extras).map_err(|error| error.under_index(index))?;
                }
            }
            other => return Err(ParseError::wrong_type("a string or a list of items", other)),
        }
        Ok(())
    }

    fn read_item(&mut self, raw: &RawValue, extras: &mut Extras) -> Result<(), ParseError> {
        let item = Object::read(raw)?;
        let kind = match item.optional("type", read::string)? {
            Some(kind) => kind,
            // The short forms of the two kinds that may leave their type out.
            None if item.has("role") => "message".to_owned(),
            None if item.has("id") => "item_reference".to_owned(),
            None => return Err(ParseError::missing().under_key("type")),
        };
        let known: &[&str] = match kind.as_str() {
            "message" => {
                self.read_message(&item, extras)?;
                &["role", "content"]
            }
            "function_call" => {
                self.assistant(Content::ToolCall(read_tool_call(&item, "arguments")?).into());
                &["call_id", "name", "namespace", "arguments"]
            }
            "custom_tool_call" => {
                self.assistant(Content::ToolCall(read_tool_call(&item, "input")?).into());
                &["call_id", "name", "namespace", "input"]
            }
            "function_call_output" | "custom_tool_call_output" => {
                let result = read_tool_result(&item, extras)?;
                self.result(Content::ToolResult(result).into());
                &["call_id", "name", "namespace", "output"]
            }
            "reasoning" => {
                self.assistant(Content::Reasoning(read_reasoning(&item)?).into());
                &["summary", "content", "encrypted_content"]
            }
            "additional_tools" => {
                item.required("tools", |raw| self.toolbox.read_more(raw, extras))?;
                &["role", "tools"]
            }
            _ => {
                let is_result = kind.ends_with("_output") || kind == "mcp_approval_response";
                let block = Content::Other { kind, json: raw.get().to_owned() }.into();
                if is_result {
                    self.result(block);
                } else {
                    self.assistant(block);
                }
                return Ok(());
            }
        };
        // Ids and states of items mean something to the store that issued them only.
        let known: Vec<&str> = known.iter().chain(&["type", "id", "status"]).copied().collect();
        extras.keep_rest("input[].", &item, &known);
        Ok(())
    }

    fn read_message(&mut self, message: &Object<'_>, extras: &mut Extras) -> Result<(), ParseError> {
        let role = message.required("role", read_role)?;
        let blocks = message.required("content", |raw| read_content(raw, "input[].content[].", extras))?;
        if role != Role::Assistant || blocks.is_empty() {
            self.turns.push(Turn::new(role, blocks));
            return Ok(());
        }
        for block in blocks {
            self.assistant(block);
        }
        Ok(())
    }

    /// Adds to what the assistant does in one go.
    fn assistant(&mut self, block: Block) {
        match self.turns.last_mut() {
            Some(turn) if turn.role == Role::Assistant => turn.blocks.push(block),
            _ => self.turns.push(Turn::new(Role::Assistant, vec![block])),
        }
    }

    /// Adds to the results of the assistant's calls.
    fn result(&mut self, block: Block) {
        let is_result =
            |block: &Block| matches!(block.content, Content::ToolResult(_) | Content::Other { .. });
        match self.turns.last_mut() {
            Some(turn) if turn.role == Role::User && turn.blocks.iter().all(is_result) => {
                turn.blocks.push(block);
            }
            _ => self.turns.push(Turn::new(Role::User, vec![block])),
        }
    }
}

fn read_role(raw: &RawValue) -> Result<Role, ParseError> {
    match read::string(raw)?.as_str() {
        "system" | "developer" => Ok(Role::System),
        "user" => Ok(Role::User),
        "assistant" => Ok(Role::Assistant),
        _ => Err(ParseError::bad_value("must be `system`, `developer`, `user` or `assistant`")),
    }
}

fn read_tool_call(item: &Object<'_>, arguments: &str) -> Result<ToolCall, ParseError> {
    Ok(ToolCall {
        id: item.required("call_id", read::non_empty_string)?,
        name: read_tool_name(item)?.ok_or_else(|| ParseError::missing().under_key("name"))?,
        arguments: item.required(arguments, read::string)?,
    })
}

fn read_tool_name(item: &Object<'_>) -> Result<Option<String>, ParseError> {
    let name = item.optional("name", read::non_empty_string)?;
    let namespace = item.optional("namespace", read::string)?.filter(|namespace| !namespace.is_empty());
    Ok(match (namespace, name) {
        (Some(namespace), Some(name)) => Some(Namespace::flat_name(&namespace, &name)),
        (_, name) => name,
    })
}

fn read_tool_result(item: &Object<'_>, extras: &mut Extras) -> Result<ToolResult, ParseError> {
    Ok(ToolResult {
        call_id: item.required("call_id", read::non_empty_string)?,
        name: read_tool_name(item)?,
        content: item.required("output", |raw| read_content(raw, "input[].output[].", extras))?,
        is_error: false,
    })
}

fn read_reasoning(item: &Object<'_>) -> Result<Reasoning, ParseError> {
    let summary = item.optional("summary", read_texts)?.unwrap_or_default();
    let content = item.optional("content", read_texts)?.unwrap_or_default();
    let sealed = item.optional("encrypted_content", read::string)?.filter(|sealed| !sealed.is_empty());
    // Reasoning whose words are withheld has no part at all; an empty part is one that said nothing.
    let is_redacted = sealed.is_some() && summary.is_empty() && content.is_empty();
    // The whole is better than its summary, where a client has both.
    let text = if content.is_empty() { summary.join("\n\n") } else { content.concat() };
    Ok(Reasoning { text, seal: sealed.as_deref().map(Seal::from_client), is_redacted })
}

fn read_texts(raw: &RawValue) -> Result<Vec<String>, ParseError> {
    read::each(raw, |part| Object::read(part)?.required("text", read::string))
}
