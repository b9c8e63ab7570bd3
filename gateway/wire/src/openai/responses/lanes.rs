//! Puts blocks that come interleaved into a row.
//!
//! Each block has a lane. The first lane's text passes at once; what comes for a later one waits until all before it
//! are complete. A block begins only when it has something to say: clients send empty texts back, and other APIs
//! refuse them.

use std::collections::{BTreeSet, VecDeque};

use crate::reply::{Delta, Open, Unreadable};

/// Most text that waits, in bytes; a provider that sends more of it out of order is broken.
const HELD_BYTES_MAX: usize = 16 << 20;
/// Most blocks that are not complete at one time.
const LANES_MAX: usize = 256;

/// The place of a block: its item, and its part in it.
pub(super) type Key = (usize, u32);

/// What kind of block a lane holds.
#[derive(Clone, PartialEq)]
pub(super) enum Lane {
    Text,
    Refusal,
    Reasoning,
    /// Begins when its id and name are known.
    ToolCall {
        id: String,
        name: String,
    },
}

/// The lanes of one answer.
#[derive(Default)]
pub(super) struct Lanes {
    waiting: VecDeque<Block>,
    complete: BTreeSet<Key>,
    has_tool_calls: bool,
}

struct Block {
    key: Key,
    lane: Lane,
    is_open: bool,
    is_complete: bool,
    has_text: bool,
    pending: String,
    seal: Option<String>,
}

impl Lanes {
    /// Returns whether any block was ever announced.
    pub(super) fn are_unused(&self) -> bool {
        self.waiting.is_empty() && self.complete.is_empty()
    }

    /// Returns whether a tool call has begun.
    pub(super) fn have_tool_calls(&self) -> bool {
        self.has_tool_calls
    }

    /// Announces the block at `key`, or says more about it.
    pub(super) fn begin(&mut self, key: Key, lane: Lane) -> Result<(), Unreadable> {
        if let Some(block) = self.block(key, &lane)?
            && !block.is_open
        {
            block.lane = lane;
        }
        Ok(())
    }

    /// Adds to the block at `key`, which begins with it if it has not yet.
    pub(super) fn append(&mut self, key: Key, lane: &Lane, more: &str) -> Result<(), Unreadable> {
        if let Some(block) = self.block(key, lane)? {
            block.has_text |= !more.is_empty();
            block.pending.push_str(more);
        }
        let held: usize = self.waiting.iter().skip(1).map(|block| block.pending.len()).sum();
        if held > HELD_BYTES_MAX {
            return Err(Unreadable::Malformed("too much comes before its turn"));
        }
        Ok(())
    }

    /// Gives the block at `key` its text if none has come.
    pub(super) fn settle(&mut self, key: Key, lane: &Lane, whole: &str) -> Result<(), Unreadable> {
        match self.block(key, lane)? {
            Some(block) if !block.has_text => self.append(key, lane, whole),
            _ => Ok(()),
        }
    }

    /// Gives the block at `key` its seal.
    pub(super) fn seal(&mut self, key: Key, lane: &Lane, seal: String) -> Result<(), Unreadable> {
        if let Some(block) = self.block(key, lane)? {
            block.seal = Some(seal);
        }
        Ok(())
    }

    /// Says that nothing more comes for the block at `key`.
    pub(super) fn complete(&mut self, key: Key) {
        self.complete_if(|block| block.key == key);
    }

    /// Says that nothing more comes for any block of the item `item`.
    pub(super) fn complete_item(&mut self, item: usize) {
        self.complete_if(|block| block.key.0 == item);
    }

    /// Says that nothing more comes at all.
    pub(super) fn complete_all(&mut self) {
        self.complete_if(|_| true);
    }

    /// Lets pass what may.
    pub(super) fn drain(&mut self, deltas: &mut Vec<Delta>) {
        while let Some(block) = self.waiting.front_mut() {
            self.has_tool_calls |= block.pass(deltas);
            if !block.is_complete {
                break;
            }
            self.complete.insert(block.key);
            self.waiting.pop_front();
        }
    }

    fn complete_if(&mut self, is_it: impl Fn(&Block) -> bool) {
        self.waiting.iter_mut().filter(|block| is_it(block)).for_each(|block| block.is_complete = true);
    }

    /// Finds the block at `key` or makes it; nothing if it is complete already.
    fn block(&mut self, key: Key, lane: &Lane) -> Result<Option<&mut Block>, Unreadable> {
        if self.complete.contains(&key) {
            return Ok(None);
        }
        let found = self.waiting.iter().position(|block| block.key == key);
        let index = match found {
            Some(index) => index,
            None if self.waiting.len() == LANES_MAX => {
                return Err(Unreadable::Malformed("too many blocks are incomplete at one time"));
            }
            None => {
                // Never before a block that has begun.
                let is_later = |block: &Block| !block.is_open && block.key > key;
                let index = self.waiting.iter().position(is_later).unwrap_or(self.waiting.len());
                self.waiting.insert(index, Block::new(key, lane.clone()));
                index
            }
        };
        Ok(self.waiting.get_mut(index).filter(|block| !block.is_complete))
    }
}

impl Block {
    fn new(key: Key, lane: Lane) -> Self {
        Self {
            key,
            lane,
            is_open: false,
            is_complete: false,
            has_text: false,
            pending: String::new(),
            seal: None,
        }
    }

    /// Writes what has come; whether a tool call begins with it.
    fn pass(&mut self, deltas: &mut Vec<Delta>) -> bool {
        let open = if self.is_open { None } else { self.opening() };
        let begins_call = matches!(open, Some(Open::ToolCall { .. }));
        self.is_open |= open.is_some();
        deltas.extend(open.map(Delta::Open));
        if !self.is_open {
            return false;
        }
        if !self.pending.is_empty() {
            deltas.push(Delta::Append(std::mem::take(&mut self.pending)));
        }
        if self.is_complete {
            deltas.extend(self.seal.take().map(Delta::Seal));
            deltas.push(Delta::Close);
        }
        begins_call
    }

    /// How the block begins, if it can.
    fn opening(&mut self) -> Option<Open> {
        match &mut self.lane {
            Lane::ToolCall { id, name } => (!id.is_empty() && !name.is_empty())
                .then(|| Open::ToolCall { id: std::mem::take(id), name: std::mem::take(name) }),
            Lane::Text => self.has_text.then_some(Open::Text),
            Lane::Refusal => self.has_text.then_some(Open::Refusal),
            Lane::Reasoning if self.has_text => Some(Open::Reasoning),
            Lane::Reasoning => (self.is_complete && self.seal.is_some()).then_some(Open::RedactedReasoning),
        }
    }
}
