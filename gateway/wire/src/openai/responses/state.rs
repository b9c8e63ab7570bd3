//! What a conversation depends on besides its own words: stored answers, and the provider that issued its seals.

use super::item::free_text;
use crate::call::{Call, Content, Reasoning, Role, ToolKind, Turn, Untranslatable};
use crate::reply::Reply;

/// The extras that speak of a provider's store, and what to do without it.
const STORED: [(&str, &str); 3] = [
    (
        "previous_response_id",
        "the answer that it continues is not stored here; send the conversation in `input`",
    ),
    ("conversation", "conversations are not stored here; send the conversation in `input`"),
    ("prompt", "prompts are not stored here; send its text in `instructions` or `input`"),
];

/// Puts `next` behind the call that it continues and the answer to it.
///
/// The instructions of the earlier call end with it, as the API documents; its tools and settings do too, because
/// each request says its own. What `next` repeats to its client is still that of `next` as it came.
#[must_use]
pub fn continued(previous: &Call, reply: &Reply, next: Call) -> Call {
    let mut next = next;
    let own = next.own_instructions.min(next.turns.len());
    let new = next.turns.split_off(own);
    let inherited = previous.turns.get(previous.own_instructions..).unwrap_or_default();
    next.turns.extend_from_slice(inherited);
    next.turns.push(Turn::new(Role::Assistant, blocks_of(previous, reply)));
    next.turns.extend(new);
    next.extras.retain(|extra| extra.name != "previous_response_id");
    next
}

/// Returns why the call can be answered only by the API that it was written for, if that is so: it speaks of
/// something that this API stores, or has sealed.
pub fn untranslatable(call: &Call) -> Option<Untranslatable> {
    let extra = |name: &str| call.extras.iter().any(|extra| extra.name == name && extra.says_something());
    if let Some((param, reason)) = STORED.into_iter().find(|(name, _)| extra(name)) {
        return Some(Untranslatable::new(param, reason));
    }
    let kinds = call.turns.iter().flat_map(|turn| &turn.blocks).filter_map(|block| match &block.content {
        Content::Other { kind, .. } => Some(kind.as_str()),
        _ => None,
    });
    let reason = kinds.into_iter().find_map(|kind| match kind {
        "item_reference" => Some("an item refers to a stored one; send the item itself"),
        "compaction" | "compaction_summary" => {
            Some("a part of the conversation is compacted in a form that only its provider can read")
        }
        _ => None,
    });
    reason.map(|reason| Untranslatable::new("input", reason))
}

/// Returns whether the conversation has reasoning that came through a translation.
///
/// Such a call cannot pass as it is even to an API of its own dialect, which would refuse the seals.
pub fn has_translated_seals(call: &Call) -> bool {
    let is_translated = |content: &Content| match content {
        Content::Reasoning(Reasoning { seal: Some(seal), .. }) => seal.issuer.is_some(),
        _ => false,
    };
    call.turns.iter().flat_map(|turn| &turn.blocks).any(|block| is_translated(&block.content))
}

/// The blocks of an answer as a client would send them back.
fn blocks_of(call: &Call, reply: &Reply) -> Vec<crate::call::Block> {
    let mut blocks = reply.blocks.clone();
    for block in &mut blocks {
        if let Content::ToolCall(made) = &mut block.content {
            let kind = call.tool(&made.name).map(|tool| &tool.kind);
            if matches!(kind, Some(ToolKind::Custom { .. })) {
                made.arguments = free_text(&made.arguments);
            }
        }
    }
    blocks
}
