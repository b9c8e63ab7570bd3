//! The stream of a provider, read one event at a time.
//!
//! Tolerant: the type is read from the data, so events without an `event:` line are read too; unknown events, blocks and
//! deltas teach nothing. Blocks of the provider's own tools are no part of an answer here and are passed over.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::error::of_detail;
use super::blocks::{Blocks, Start};
use super::finish;
use super::usage::Counts;
use crate::json::read::Object;
use crate::reply::{Begin, Delta, EventReader, Fault, FaultKind, FinishReason, Unreadable};
use crate::sse::Event;

/// Reads one streamed answer.
#[derive(Debug, Default)]
pub struct Reader {
    stage: Stage,
    blocks: Blocks,
    counts: Counts,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Before,
    Begun,
    Finished,
    Ended,
}

/// One event; each member is read further only if the type asks for it.
#[derive(Deserialize)]
struct Document<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(default)]
    index: u64,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(borrow)]
    content_block: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Message<'a> {
    id: Option<String>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct MessageDelta {
    stop_reason: Option<String>,
    stop_sequence: Option<String>,
}

impl Reader {
    /// Starts to read an answer.
    pub fn new() -> Self {
        Self::default()
    }

    fn begin(&mut self, message: Option<&RawValue>, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        if self.stage != Stage::Before {
            return Err(Unreadable::Malformed("a second answer begins inside the first"));
        }
        let message: Option<Message<'_>> = message.and_then(|raw| serde_json::from_str(raw.get()).ok());
        if let Some(usage) = message.as_ref().and_then(|message| message.usage) {
            self.counts.update(usage);
        }
        let usage = self.counts.usage_at_the_beginning();
        deltas.push(Delta::Begin(Begin { id: message.and_then(|message| message.id), usage }));
        self.stage = Stage::Begun;
        Ok(())
    }

    /// An answer whose beginning was left out begins with its first block.
    fn begin_if_new(&mut self, deltas: &mut Vec<Delta>) {
        if self.stage == Stage::Before {
            deltas.push(Delta::Begin(Begin::default()));
            self.stage = Stage::Begun;
        }
    }

    fn end_of_message(&mut self, document: &Document<'_>, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        self.begin_if_new(deltas);
        let delta = document.delta.map(|raw| serde_json::from_str::<MessageDelta>(raw.get())).transpose();
        let delta = delta.map_err(|_| Unreadable::Malformed("`message_delta` without a readable `delta`"))?;
        let reason = delta.and_then(|delta| delta.stop_reason.map(|reason| (reason, delta.stop_sequence)));
        if let Some((reason, stop_sequence)) = reason.filter(|_| self.stage == Stage::Begun) {
            self.blocks.close_all(deltas);
            deltas.push(Delta::Finish(finish::read(&reason, stop_sequence)));
            self.stage = Stage::Finished;
        }
        if let Some(usage) = document.usage {
            self.counts.update(usage);
            deltas.extend(self.counts.usage().map(Delta::Usage));
        }
        Ok(())
    }

    fn close(&mut self, deltas: &mut Vec<Delta>) {
        self.begin_if_new(deltas);
        if self.stage == Stage::Begun {
            self.blocks.close_all(deltas);
            deltas.push(Delta::Finish(FinishReason::Other.into()));
        }
        deltas.push(Delta::End);
        self.stage = Stage::Ended;
    }
}

impl EventReader for Reader {
    fn read(&mut self, event: &Event, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        if self.stage == Stage::Ended {
            return Ok(());
        }
        let Some(document) = document_of(event)? else { return Ok(()) };
        let is_open = self.stage != Stage::Finished;
        match &*document.kind {
            "content_block_delta" if is_open => {
                self.begin_if_new(deltas);
                let raw =
                    document.delta.ok_or(Unreadable::Malformed("a delta of a block without `delta`"))?;
                self.blocks.append(document.index, raw, deltas)?;
            }
            "content_block_start" if is_open => {
                self.begin_if_new(deltas);
                let raw = document.content_block;
                let raw = raw.ok_or(Unreadable::Malformed("a block begins without `content_block`"))?;
                self.blocks.start(document.index, Start::read(raw)?, deltas);
            }
            "content_block_stop" if is_open => self.blocks.stop(document.index, deltas),
            "message_start" => self.begin(document.message, deltas)?,
            "message_delta" => self.end_of_message(&document, deltas)?,
            "message_stop" => self.close(deltas),
            "ping" if self.stage != Stage::Before => deltas.push(Delta::Ping),
            "error" => return Err(Unreadable::Fault(fault_of(document.error))),
            _ => {}
        }
        Ok(())
    }
}

/// Reads the data of an event; nothing if it is of no known type.
fn document_of(event: &Event) -> Result<Option<Document<'_>>, Unreadable> {
    /// All that is asked of an event of a later version.
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'a, str>,
    }

    let error = match serde_json::from_str::<Document<'_>>(event.data()) {
        Ok(document) => return Ok(Some(document)),
        Err(error) => error,
    };
    // What other dialects end with; some servers of many dialects send it in all of them.
    let is_end_mark = event.data().trim_ascii() == "[DONE]";
    let is_bare_ping = event.name() == Some("ping");
    let is_unknown = serde_json::from_str::<Kind<'_>>(event.data())
        .is_ok_and(|later| !later.kind.starts_with("content_block_") && !later.kind.starts_with("message_"));
    if is_end_mark || is_bare_ping || is_unknown {
        return Ok(None);
    }
    Err(Unreadable::Malformed(if error.is_data() {
        "an event lacks a member or has one of the wrong type"
    } else {
        "an event is not JSON"
    }))
}

fn fault_of(error: Option<&RawValue>) -> Fault {
    let detail = error.and_then(|raw| Object::read(raw).ok());
    detail.as_ref().and_then(of_detail).unwrap_or_else(|| {
        Fault::new(FaultKind::Server, "upstream_error", "the provider reported an error without saying which")
    })
}
