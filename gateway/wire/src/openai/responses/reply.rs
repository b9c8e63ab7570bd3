//! Whole answers: written for a client, and read from a provider.

use bytes::Bytes;

use super::incoming::{Answer, Block as Incoming, read_answer};
use super::item::Status;
use super::item::{Item, Names};
use super::object::{Object, State, raw};
use crate::call::{Block, Call, Content, Reasoning, Seal, ToolCall};
use crate::openai::error::to_json;
use crate::reply::{Delta, Envelope, Reply, Told, Unreadable, deltas_of};

/// Writes the whole answer to `call`.
pub fn write_reply(reply: &Reply, envelope: &Envelope, call: &Call) -> Bytes {
    let names = Names::new(envelope.clone(), call);
    let mut items: Vec<Item> = Vec::new();
    for delta in deltas_of(reply.clone()) {
        match (delta, items.last_mut()) {
            (Delta::Open(open), _) => items.push(names.open(&open, items.len())),
            (Delta::Append(more), Some(item)) => item.append(&more),
            (Delta::Seal(data), Some(item)) => item.seal(names.sealed(&data)),
            _ => {}
        }
    }
    items.iter_mut().for_each(Item::complete);
    let state = State::Ended(reply.finish.reason);
    let last = items.len().wrapping_sub(1);
    let status = |index: usize| {
        if state.is_incomplete() && index == last { Status::Incomplete } else { Status::Completed }
    };
    let output: Vec<_> =
        items.iter().enumerate().map(|(index, item)| raw(&item.body(status(index)))).collect();
    to_json(&Object::new(envelope, call).body(&state, &output, reply.usage.as_ref()))
}

/// Reads the whole answer of the provider `provider`.
///
/// # Errors
/// Returns the provider's own error if the answer failed, and that it is no finished answer of this API.
pub fn read_reply(body: &[u8], provider: &str) -> Result<Reply, Unreadable> {
    let Answer { id, blocks, finish, usage } = read_answer(body)?;
    let blocks = blocks.into_iter().map(|block| block_of(block, provider)).collect();
    let (told, others) = (Told::default(), Vec::new());
    Ok(Reply { id, blocks, finish: finish.into(), usage, told, others })
}

fn block_of(block: Incoming, provider: &str) -> Block {
    let content = match block {
        Incoming::Text(text) => Content::Text(text),
        Incoming::Refusal(text) => Content::Refusal(text),
        Incoming::Reasoning { text, seal } => {
            let is_redacted = text.is_empty();
            let seal = seal.map(|data| Seal::of(provider, data));
            Content::Reasoning(Reasoning { text, seal, is_redacted })
        }
        Incoming::ToolCall { id, name, arguments } => Content::ToolCall(ToolCall { id, name, arguments }),
    };
    content.into()
}
