//! Tool calls that may interleave, put one after the other.
//!
//! A call is handed on while it is the foremost one; a call behind it waits until the arguments of the foremost one
//! are a whole JSON value, or until the answer ends.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::Text;
use crate::reply::{Delta, Open};

/// Most calls in one answer; a provider that numbers more is confused.
const CALLS_MAX: usize = 512;

/// A piece of a tool call, as it stands in a chunk.
#[derive(Deserialize)]
pub(super) struct Fragment<'a> {
    #[serde(default)]
    index: Option<u32>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    function: Option<Called<'a>>,
    #[serde(borrow, default)]
    custom: Option<Custom<'a>>,
}

/// Name and arguments.
#[derive(Deserialize)]
pub(super) struct Called<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    /// Text; some servers send the object itself.
    #[serde(borrow, default)]
    arguments: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Custom<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    input: Option<Text<'a>>,
}

/// The calls of one answer in the order in which they began.
#[derive(Debug, Default)]
pub(super) struct Slots {
    all: Vec<Slot>,
    /// The foremost call that is not closed.
    front: usize,
    has_calls: bool,
}

#[derive(Debug)]
struct Slot {
    index: Option<u32>,
    id: String,
    name: String,
    is_open: bool,
    /// What has come and not been handed on.
    waiting: String,
    arguments: Completeness,
}

impl<'a> Fragment<'a> {
    /// Reads the retired form of the one call that an answer may have.
    pub(super) fn of_function_call(function: Called<'a>) -> Self {
        Self { index: Some(0), id: None, function: Some(function), custom: None }
    }

    /// Numbers a call that is whole: nothing continues it.
    pub(super) fn numbered(self, index: usize) -> Self {
        Self { index: u32::try_from(index).ok(), ..self }
    }
}

impl Slots {
    /// Takes a fragment; `reply_id` makes an id where the server gave none.
    pub(super) fn take(&mut self, fragment: Fragment<'_>, reply_id: Option<&str>, deltas: &mut Vec<Delta>) {
        let Fragment { index, id, function, custom } = fragment;
        let (name, text) = match (function, custom) {
            (Some(called), _) => (called.name, called.arguments.and_then(Text::of_text_or_object)),
            (None, Some(custom)) => (custom.name, custom.input),
            (None, None) => (None, None),
        };
        let id = id.filter(|id| !id.is_empty());
        let Some(position) = self.position(index, id.as_deref(), name.as_deref()) else { return };
        if position == self.all.len() {
            let number = self.all.len();
            let made = || format!("call_{}_{number}", reply_id.unwrap_or("0"));
            // Two calls of one id could not be answered.
            let is_new = |id: &Text<'_>| self.all.iter().all(|slot| slot.id != **id);
            let id = id.filter(is_new).map_or_else(made, Text::into_owned);
            self.all.push(Slot {
                index,
                id,
                name: String::new(),
                is_open: false,
                waiting: String::new(),
                arguments: Completeness::default(),
            });
        }
        let slot = &mut self.all[position];
        if slot.name.is_empty() {
            slot.name = name.map(Text::into_owned).unwrap_or_default();
        }
        slot.waiting.push_str(text.as_deref().unwrap_or_default());
        self.advance(deltas);
    }

    /// Hands on all that waits: the answer ends, or something else begins.
    pub(super) fn finish(&mut self, deltas: &mut Vec<Delta>) {
        while self.front < self.all.len() {
            self.hand_on(deltas);
            self.close(deltas);
        }
    }

    /// Returns whether the answer calls any tool; a call that never got a name is none.
    pub(super) fn has_calls(&self) -> bool {
        self.has_calls
    }

    /// Returns whether more of a call has to be expected.
    pub(super) fn is_busy(&self) -> bool {
        let waits = |slot: &Slot| !slot.arguments.is_whole() || !slot.waiting.is_empty();
        self.all.get(self.front..).is_some_and(|rest| rest.iter().any(waits))
    }

    /// Which call a fragment belongs to; nothing if it belongs to one that is over.
    ///
    /// Servers that number nothing send a new id for a new call, and no id for more of the last one.
    fn position(&self, index: Option<u32>, id: Option<&str>, name: Option<&str>) -> Option<usize> {
        let last = self.all.len().checked_sub(1);
        let known = match index {
            // The number of another call with another id: a server that counts every call as the first.
            Some(index) => self.all.iter().rposition(|slot| slot.index == Some(index)).filter(|found| {
                id.is_none_or(|id| self.all[*found].id == id) || name.is_none_or(str::is_empty)
            }),
            None => match id {
                Some(id) => self.all.iter().rposition(|slot| slot.id == id),
                None => last,
            },
        };
        match known {
            Some(known) => (known >= self.front).then_some(known),
            None => (self.all.len() < CALLS_MAX).then_some(self.all.len()),
        }
    }

    fn advance(&mut self, deltas: &mut Vec<Delta>) {
        while self.front < self.all.len() {
            self.hand_on(deltas);
            let is_last = self.front + 1 == self.all.len();
            if is_last || !self.all[self.front].arguments.is_whole() {
                return;
            }
            self.close(deltas);
        }
    }

    fn hand_on(&mut self, deltas: &mut Vec<Delta>) {
        let slot = &mut self.all[self.front];
        if !slot.is_open && !slot.name.is_empty() {
            slot.is_open = true;
            self.has_calls = true;
            deltas.push(Delta::Open(Open::ToolCall { id: slot.id.clone(), name: slot.name.clone() }));
        }
        if slot.is_open && !slot.waiting.is_empty() {
            let text = std::mem::take(&mut slot.waiting);
            slot.arguments.take(&text);
            deltas.push(Delta::Append(text));
        }
    }

    fn close(&mut self, deltas: &mut Vec<Delta>) {
        if self.all[self.front].is_open {
            deltas.push(Delta::Close);
        }
        self.front += 1;
    }
}

/// Whether text that comes in pieces has become a whole JSON object or list.
#[derive(Debug, Default)]
pub(in crate::openai) struct Completeness {
    depth: usize,
    in_string: bool,
    is_escaped: bool,
    has_begun: bool,
}

impl Completeness {
    pub(in crate::openai) fn take(&mut self, text: &str) {
        for byte in text.bytes() {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' if self.in_string => self.is_escaped = true,
                b'"' => self.in_string = !self.in_string,
                _ if self.in_string => {}
                b'{' | b'[' => {
                    self.depth += 1;
                    self.has_begun = true;
                }
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
    }

    pub(in crate::openai) fn is_whole(&self) -> bool {
        self.has_begun && self.depth == 0
    }
}
