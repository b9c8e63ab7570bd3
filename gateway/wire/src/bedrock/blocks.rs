//! Puts the fragments of blocks in order: the API numbers its blocks, and what we hand on never interleaves.
//!
//! In practice a block ends before the next begins. Where it doesn't, the fragments of later blocks are held back until the
//! open one is complete.

use std::collections::{HashMap, VecDeque};

use crate::reply::{Delta, Open, Unreadable};

/// Most bytes of fragments that are held back, so that no stream fills the memory.
const HELD_BYTES_MAX: usize = 8 << 20;

/// What a fragment says of its block.
#[derive(Debug)]
pub(super) enum Fragment {
    Call { id: String, name: String },
    Arguments(String),
    Text(String),
    Thought(String),
    Signature(String),
    Redacted(String),
    Stop,
}

/// The blocks of one answer.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    open: Option<OpenBlock>,
    held: HashMap<u32, Vec<Fragment>>,
    /// The numbers of the blocks that are held back, in the order in which they began.
    order: VecDeque<u32>,
    held_bytes: usize,
}

#[derive(Debug)]
struct OpenBlock {
    index: u32,
    kind: Kind,
    signature: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Reasoning,
    Redacted,
    Call,
}

impl Blocks {
    /// Takes the next fragment, which belongs to the block `index`.
    pub(super) fn push(
        &mut self,
        index: u32,
        fragment: Fragment,
        deltas: &mut Vec<Delta>,
    ) -> Result<(), Unreadable> {
        if self.open.as_ref().is_some_and(|open| open.index != index) {
            self.held_bytes += size_of::<Fragment>() + fragment.len();
            if self.held_bytes > HELD_BYTES_MAX {
                return Err(Unreadable::Malformed("its blocks interleave without end"));
            }
            let held = self.held.entry(index).or_default();
            if held.is_empty() {
                self.order.push_back(index);
            }
            held.push(fragment);
            return Ok(());
        }
        self.apply(index, fragment, deltas)?;
        self.release(deltas)
    }

    /// Completes everything: no fragment will come.
    pub(super) fn finish(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        self.close(deltas);
        while !self.order.is_empty() {
            self.release(deltas)?;
            self.close(deltas);
        }
        Ok(())
    }

    /// Hands on what was held back, block after block, as long as none is open.
    fn release(&mut self, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        while self.open.is_none()
            && let Some(index) = self.order.pop_front()
        {
            for fragment in self.held.remove(&index).unwrap_or_default() {
                self.held_bytes -= size_of::<Fragment>() + fragment.len();
                self.apply(index, fragment, deltas)?;
            }
        }
        Ok(())
    }

    fn apply(&mut self, index: u32, fragment: Fragment, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        match fragment {
            Fragment::Call { id, name } => {
                self.close(deltas);
                self.open(index, Kind::Call, deltas, Open::ToolCall { id, name });
            }
            Fragment::Arguments(more) => {
                if self.open.as_ref().is_none_or(|open| open.kind != Kind::Call) {
                    return Err(Unreadable::Malformed("arguments come without a call"));
                }
                append(more, deltas);
            }
            Fragment::Text(more) => self.say(index, Kind::Text, more, deltas),
            Fragment::Thought(more) => self.say(index, Kind::Reasoning, more, deltas),
            Fragment::Signature(more) => {
                self.ensure(index, Kind::Reasoning, deltas);
                if let Some(open) = &mut self.open {
                    open.signature.push_str(&more);
                }
            }
            Fragment::Redacted(data) => {
                self.close(deltas);
                self.open(index, Kind::Redacted, deltas, Open::RedactedReasoning);
                deltas.push(Delta::Seal(data));
            }
            Fragment::Stop => self.close(deltas),
        }
        Ok(())
    }

    /// Blocks of text have no event for their start: the first words are it.
    fn say(&mut self, index: u32, kind: Kind, more: String, deltas: &mut Vec<Delta>) {
        if !more.is_empty() {
            self.ensure(index, kind, deltas);
            append(more, deltas);
        }
    }

    fn ensure(&mut self, index: u32, kind: Kind, deltas: &mut Vec<Delta>) {
        if self.open.as_ref().is_none_or(|open| open.kind != kind) {
            self.close(deltas);
            let open = if kind == Kind::Text { Open::Text } else { Open::Reasoning };
            self.open(index, kind, deltas, open);
        }
    }

    fn open(&mut self, index: u32, kind: Kind, deltas: &mut Vec<Delta>, open: Open) {
        deltas.push(Delta::Open(open));
        self.open = Some(OpenBlock { index, kind, signature: String::new() });
    }

    fn close(&mut self, deltas: &mut Vec<Delta>) {
        if let Some(open) = self.open.take() {
            if !open.signature.is_empty() {
                deltas.push(Delta::Seal(open.signature));
            }
            deltas.push(Delta::Close);
        }
    }
}

impl Fragment {
    fn len(&self) -> usize {
        match self {
            Self::Call { id, name } => id.len() + name.len(),
            Self::Arguments(text)
            | Self::Text(text)
            | Self::Thought(text)
            | Self::Signature(text)
            | Self::Redacted(text) => text.len(),
            Self::Stop => 0,
        }
    }
}

fn append(more: String, deltas: &mut Vec<Delta>) {
    if !more.is_empty() {
        deltas.push(Delta::Append(more));
    }
}
