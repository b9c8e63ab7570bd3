//! Turns as messages: instructions apart, the rest strictly alternating, results of tools first, nothing empty.
//!
//! Instructions in the middle of a conversation join those before it: that messages may have the role `system` is true of
//! few models only, and as words of the user they would lose their authority.

use serde_json::{Value, json};

use super::content::Blocks;
use crate::call::{Block, Role, Turn, Untranslatable};

/// What one block became: itself, and perhaps the mark of a cached prefix behind it.
pub(super) struct Piece {
    pub(super) values: Vec<Value>,
    pub(super) is_result: bool,
}

/// Writes a conversation as `system` and `messages`.
pub(super) fn write(
    turns: &[Turn],
    blocks: &mut Blocks<'_>,
) -> Result<(Vec<Value>, Vec<Value>), Untranslatable> {
    let mut system = Vec::new();
    let mut messages: Vec<(&str, Vec<Piece>)> = Vec::new();
    for turn in turns {
        blocks.lost.note_if("name", turn.name.as_ref());
        let role = match turn.role {
            Role::Assistant => "assistant",
            Role::User => "user",
            Role::System => {
                if !messages.is_empty() {
                    blocks.lost.note("system.position");
                }
                instructions(&turn.blocks, blocks, &mut system);
                continue;
            }
        };
        let pieces = blocks.pieces(&turn.blocks)?;
        match messages.last_mut() {
            Some((last, joined)) if *last == role => joined.extend(pieces),
            _ if pieces.is_empty() => {}
            _ => messages.push((role, pieces)),
        }
    }
    let mut messages: Vec<Value> = messages.into_iter().map(|(role, pieces)| message(role, pieces)).collect();
    trim_end(&mut messages);
    if messages.is_empty() {
        return Err(Untranslatable::new(
            "messages",
            "this API needs a message of the user that is not empty",
        ));
    }
    Ok((system, messages))
}

fn message(role: &str, mut pieces: Vec<Piece>) -> Value {
    // A result has to follow its call at once, whatever the user says besides. The sort is stable.
    pieces.sort_by_key(|piece| !piece.is_result);
    let mut content: Vec<Value> = pieces.into_iter().flat_map(|piece| piece.values).collect();
    let documents: Vec<&str> =
        content.iter().filter_map(|block| block["document"]["name"].as_str()).collect();
    if !documents.is_empty() && !content.iter().any(|block| block.get("text").is_some()) {
        // The API wants words beside a document.
        let names = documents.join(", ");
        content.push(json!({ "text": names }));
    }
    json!({ "role": role, "content": content })
}

/// `system` holds nothing but text.
fn instructions(turn: &[Block], blocks: &mut Blocks<'_>, system: &mut Vec<Value>) {
    for block in turn {
        match block.as_text() {
            Some(text) if text.trim().is_empty() => {}
            Some(text) => {
                system.push(json!({ "text": text }));
                system.extend(blocks.cache_point(block.cache));
            }
            None => blocks.lost.note(&format!("content.{}", block.content.kind())),
        }
    }
}

/// The beginning of an answer that the model is to continue must not end with white space.
fn trim_end(messages: &mut [Value]) {
    let last = messages.last_mut().filter(|message| message["role"] == "assistant");
    let text = last.and_then(|message| message["content"].as_array_mut()?.last_mut()?.get_mut("text"));
    if let Some(Value::String(text)) = text {
        text.truncate(text.trim_end().len());
    }
}
