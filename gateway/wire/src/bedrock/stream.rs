//! The events of `ConverseStream`.
//!
//! ```text
//! messageStart, (contentBlockStart of a call only, contentBlockDelta*, contentBlockStop)*, messageStop, metadata
//! ```
//!
//! Usage comes last, in `metadata`; after it, nothing does. Where it is missing, the connection's end behind `messageStop` is
//! the stream's.

use serde::Deserialize;
use serde_json::Value;

use super::blocks::{Blocks, Fragment};
use super::fault::fault_of_event;
use super::reply::{Counts, finish};
use crate::reply::{Begin, Delta, EventReader, Unreadable};
use crate::sse::Event;

/// Reads the stream of one answer.
#[derive(Debug, Default)]
pub struct Reader {
    blocks: Blocks,
    place: Place,
    has_calls: bool,
    has_usage: bool,
}

/// How far the answer has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Place {
    #[default]
    Start,
    Begun,
    Finished,
    Ended,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockStart {
    start: Start,
    #[serde(default)]
    content_block_index: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Start {
    tool_use: Option<ToolStart>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolStart {
    tool_use_id: String,
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockDelta {
    delta: Piece,
    #[serde(default)]
    content_block_index: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Piece {
    text: Option<String>,
    tool_use: Option<Input>,
    reasoning_content: Option<Reasoning>,
}

#[derive(Deserialize)]
struct Input {
    input: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reasoning {
    text: Option<String>,
    signature: Option<String>,
    redacted_content: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct BlockStop {
    #[serde(default)]
    content_block_index: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageStop {
    stop_reason: String,
    additional_model_response_fields: Option<Value>,
}

#[derive(Deserialize)]
struct Metadata {
    usage: Option<Counts>,
}

impl Reader {
    /// Creates the reader of an answer of which nothing has come.
    pub fn new() -> Self {
        Self::default()
    }

    fn begin(&mut self, deltas: &mut Vec<Delta>) {
        if self.place == Place::Start {
            self.place = Place::Begun;
            deltas.push(Delta::Begin(Begin::default()));
        }
    }

    fn push(&mut self, index: u32, fragment: Fragment, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        self.begin(deltas);
        if self.place != Place::Begun {
            return Err(Unreadable::Malformed("content comes after its end"));
        }
        self.blocks.push(index, fragment, deltas)
    }

    fn block_start(&mut self, data: &str, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        let BlockStart { start, content_block_index } = read(data, "contentBlockStart cannot be read")?;
        let Some(ToolStart { tool_use_id: id, name }) = start.tool_use else {
            return Ok(());
        };
        if id.is_empty() || name.is_empty() {
            return Err(Unreadable::Malformed("a call has no id or no name"));
        }
        self.has_calls = true;
        self.push(content_block_index, Fragment::Call { id, name }, deltas)
    }

    fn block_delta(&mut self, data: &str, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        let BlockDelta { delta, content_block_index } = read(data, "contentBlockDelta cannot be read")?;
        let fragments =
            [delta.text.map(Fragment::Text), delta.tool_use.map(|tool| Fragment::Arguments(tool.input))];
        let reasoning = delta.reasoning_content.map(|reasoning| {
            [
                reasoning.text.map(Fragment::Thought),
                reasoning.signature.map(Fragment::Signature),
                reasoning.redacted_content.map(Fragment::Redacted),
            ]
        });
        for fragment in fragments.into_iter().chain(reasoning.into_iter().flatten()).flatten() {
            self.push(content_block_index, fragment, deltas)?;
        }
        Ok(())
    }

    fn message_stop(&mut self, data: &str, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        let stop: MessageStop = read(data, "messageStop cannot be read")?;
        self.begin(deltas);
        if self.place != Place::Begun {
            return Err(Unreadable::Malformed("it ends twice"));
        }
        self.blocks.finish(deltas)?;
        let fields = stop.additional_model_response_fields.as_ref();
        deltas.push(Delta::Finish(finish(&stop.stop_reason, fields, self.has_calls)));
        self.place = Place::Finished;
        if self.has_usage {
            self.end(deltas);
        }
        Ok(())
    }

    /// Counts that cannot be read were not reported; the answer is no worse for it.
    fn metadata(&mut self, data: &str, deltas: &mut Vec<Delta>) {
        self.begin(deltas);
        self.has_usage = true;
        let usage = serde_json::from_str::<Metadata>(data).ok().and_then(|metadata| metadata.usage);
        deltas.extend(usage.map(|counts| Delta::Usage(counts.usage())));
        self.end(deltas);
    }
}

impl EventReader for Reader {
    fn read(&mut self, event: &Event, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        if self.place == Place::Ended {
            return Ok(());
        }
        let Some(name) = event.name() else {
            return Ok(());
        };
        if let Some(fault) = fault_of_event(name, event.data()) {
            return Err(Unreadable::Fault(fault));
        }
        match name {
            "messageStart" => self.begin(deltas),
            "contentBlockStart" => self.block_start(event.data(), deltas)?,
            "contentBlockDelta" => self.block_delta(event.data(), deltas)?,
            "contentBlockStop" => {
                let stop: BlockStop = read(event.data(), "contentBlockStop cannot be read")?;
                self.push(stop.content_block_index, Fragment::Stop, deltas)?;
            }
            "messageStop" => self.message_stop(event.data(), deltas)?,
            "metadata" => self.metadata(event.data(), deltas),
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, deltas: &mut Vec<Delta>) {
        if self.place == Place::Finished {
            self.place = Place::Ended;
            deltas.push(Delta::End);
        }
    }
}

fn read<'a, T: Deserialize<'a>>(data: &'a str, otherwise: &'static str) -> Result<T, Unreadable> {
    serde_json::from_str(data).map_err(|_| Unreadable::Malformed(otherwise))
}
