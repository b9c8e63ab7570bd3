//! Turns as messages: strictly alternating, results of tools first, nothing empty.

use serde_json::{Value, json};

use super::content::Blocks;
use crate::call::{Role, Turn, Untranslatable};

/// What one block became: itself, and perhaps the mark of a cached prefix behind it.
pub(super) struct Piece {
    pub(super) values: Vec<Value>,
    pub(super) is_result: bool,
}

/// Writes the turns behind the instructions. A later instruction stands where it stood, as words of the user: that
/// messages may have the role `system` is true of few models only.
pub(super) fn messages(turns: &[Turn], blocks: &mut Blocks<'_>) -> Result<Vec<Value>, Untranslatable> {
    let mut messages: Vec<(&str, Vec<Piece>)> = Vec::new();
    for turn in turns {
        let role = match turn.role {
            Role::Assistant => "assistant",
            Role::User => "user",
            Role::System => {
                blocks.lost.note("content.system");
                "user"
            }
        };
        blocks.lost.note_if("name", turn.name.as_ref());
        let pieces = blocks.pieces(&turn.blocks)?;
        match messages.last_mut() {
            Some((last, joined)) if *last == role => joined.extend(pieces),
            _ if pieces.is_empty() => {}
            _ => messages.push((role, pieces)),
        }
    }
    Ok(messages.into_iter().map(|(role, pieces)| message(role, pieces)).collect())
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

/// Writes the instructions in front of the conversation; `system` may not hold anything but text.
pub(super) fn system(turns: &[Turn], blocks: &mut Blocks<'_>) -> Vec<Value> {
    let mut system = Vec::new();
    for block in turns.iter().flat_map(|turn| &turn.blocks) {
        match block.as_text() {
            Some(text) if text.trim().is_empty() => {}
            Some(text) => {
                system.push(json!({ "text": text }));
                system.extend(blocks.cache_point(block.cache));
            }
            None => blocks.lost.note(&format!("content.{}", block.content.kind())),
        }
    }
    system
}
