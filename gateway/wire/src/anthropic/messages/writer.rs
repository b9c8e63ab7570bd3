//! The stream of an answer as clients of this dialect read it.
//!
//! What they insist on holds by construction: `message_start` first and with usage; blocks numbered from 0 without a
//! gap, each begun empty and with the type of its deltas; the stop reason with both its members; an `event:` line
//! before all data, because clients choose their reader by it. Blocks that say nothing are left out: clients send
//! back what they got, and the API refuses empty blocks.

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::super::error;
use super::finish::{self, Held};
use super::usage::UsageBody;
use crate::Usage;
use crate::call::Seal;
use crate::reply::{Begin, Delta, Envelope, Fault, Finish, FinishReason, Open, StreamWriter};

/// Writes one streamed answer.
#[derive(Debug)]
pub struct Writer {
    envelope: Envelope,
    /// The number of the next block.
    index: u32,
    open: Option<OpenBlock>,
    usage: Option<Usage>,
    finish: Option<Finish>,
    held: Held,
}

#[derive(Debug)]
struct OpenBlock {
    kind: Open,
    /// `content_block_start` has been written: the block has something to say.
    has_begun: bool,
    /// A delta has been written.
    has_content: bool,
    seal: Option<String>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event<'a> {
    MessageStart { message: Message<'a> },
    ContentBlockStart { index: u32, content_block: Block<'a> },
    ContentBlockDelta { index: u32, delta: BlockDelta<'a> },
    ContentBlockStop { index: u32 },
    MessageDelta { delta: End<'a>, usage: UsageBody },
    MessageStop,
    Ping,
}

#[derive(Serialize)]
struct Message<'a> {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: &'a str,
    content: [(); 0],
    stop_reason: Option<()>,
    stop_sequence: Option<()>,
    usage: UsageBody,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text { text: &'static str },
    Thinking { thinking: &'static str, signature: &'static str },
    RedactedThinking { data: String },
    ToolUse { id: &'a str, name: &'a str, input: Empty },
}

/// `{}`.
#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum BlockDelta<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: String },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
}

#[derive(Serialize)]
struct End<'a> {
    stop_reason: &'static str,
    stop_sequence: Option<&'a str>,
}

impl Writer {
    /// Starts an answer; nothing in this dialect depends on what was asked.
    pub fn new(envelope: &Envelope) -> Self {
        Self {
            envelope: envelope.clone(),
            index: 0,
            open: None,
            usage: None,
            finish: None,
            held: Held::default(),
        }
    }

    fn begin(&mut self, begin: &Begin, out: &mut BytesMut) {
        self.usage = begin.usage.or(self.usage);
        let message = Message {
            id: message_id(&self.envelope),
            kind: "message",
            role: "assistant",
            model: &self.envelope.model,
            content: [],
            stop_reason: None,
            stop_sequence: None,
            usage: UsageBody::of(self.usage.as_ref()),
        };
        put(out, "message_start", &Event::MessageStart { message });
    }

    fn open(&mut self, kind: &Open) {
        self.held.tool_calls |= matches!(kind, Open::ToolCall { .. });
        self.held.refusal |= *kind == Open::Refusal;
        self.open = Some(OpenBlock { kind: kind.clone(), has_begun: false, has_content: false, seal: None });
    }

    fn append(&mut self, text: &str, out: &mut BytesMut) {
        if text.is_empty() {
            return;
        }
        self.begin_block(out);
        let Some(block) = &mut self.open else { return };
        let delta = match block.kind {
            Open::Text | Open::Refusal => BlockDelta::Text { text },
            Open::Reasoning => BlockDelta::Thinking { thinking: text },
            Open::ToolCall { .. } => BlockDelta::InputJson { partial_json: text },
            // Its words are withheld.
            Open::RedactedReasoning => return,
        };
        block.has_content = true;
        put(out, "content_block_delta", &Event::ContentBlockDelta { index: self.index, delta });
    }

    /// Writes the beginning of the open block, once.
    fn begin_block(&mut self, out: &mut BytesMut) {
        let Some(block) = self.open.as_mut().filter(|block| !block.has_begun) else { return };
        let content_block = match &block.kind {
            Open::Text | Open::Refusal => Block::Text { text: "" },
            Open::Reasoning => Block::Thinking { thinking: "", signature: "" },
            Open::ToolCall { id, name } => Block::ToolUse { id, name, input: Empty {} },
            // There is no delta for its data, so it begins when that has come.
            Open::RedactedReasoning => {
                let Some(data) = &block.seal else { return };
                Block::RedactedThinking { data: Seal::of(&self.envelope.provider, data).to_client() }
            }
        };
        block.has_begun = true;
        put(out, "content_block_start", &Event::ContentBlockStart { index: self.index, content_block });
    }

    fn close(&mut self, out: &mut BytesMut) {
        let says_something = self.open.as_ref().is_some_and(|block| {
            block.has_begun || block.seal.is_some() || matches!(block.kind, Open::ToolCall { .. })
        });
        if says_something {
            self.begin_block(out);
        }
        let Some(block) = self.open.take().filter(|block| block.has_begun) else { return };
        let index = self.index;
        let delta = match block.kind {
            Open::Reasoning => {
                // Always there, also for a provider that seals nothing: clients send it back, and some demand it.
                let seal = Seal::of(&self.envelope.provider, block.seal.unwrap_or_default());
                Some(BlockDelta::Signature { signature: seal.to_client() })
            }
            // A call without arguments is one with none, and what a client puts together has to be JSON.
            Open::ToolCall { .. } if !block.has_content => Some(BlockDelta::InputJson { partial_json: "{}" }),
            _ => None,
        };
        if let Some(delta) = delta {
            put(out, "content_block_delta", &Event::ContentBlockDelta { index, delta });
        }
        put(out, "content_block_stop", &Event::ContentBlockStop { index });
        self.index += 1;
    }

    /// Writes why the answer ended, and what it took: only now, because other dialects count last.
    fn end(&mut self, out: &mut BytesMut) {
        let finish = self.finish.take().unwrap_or_else(|| FinishReason::Other.into());
        let stop_reason = finish::word(&finish, self.held);
        let stop_sequence = finish.stop_sequence.as_deref().filter(|_| stop_reason == "stop_sequence");
        let delta = End { stop_reason, stop_sequence };
        let usage = UsageBody::of(self.usage.as_ref());
        put(out, "message_delta", &Event::MessageDelta { delta, usage });
        put(out, "message_stop", &Event::MessageStop);
    }
}

impl StreamWriter for Writer {
    fn write(&mut self, delta: &Delta, out: &mut BytesMut) {
        match delta {
            Delta::Begin(begin) => self.begin(begin, out),
            Delta::Open(open) => {
                self.open(open);
                // A tool's name is worth showing before its arguments come.
                if matches!(open, Open::ToolCall { .. }) {
                    self.begin_block(out);
                }
            }
            Delta::Append(text) => self.append(text, out),
            Delta::Seal(data) => {
                if let Some(block) = &mut self.open {
                    block.seal = Some(data.clone());
                }
            }
            Delta::Close => self.close(out),
            Delta::Usage(usage) => self.usage = Some(*usage),
            Delta::Finish(finish) => self.finish = Some(finish.clone()),
            Delta::Ping => self.keep_alive(out),
            Delta::End => self.end(out),
            // The dialect has neither choices nor tokens, and nobody who speaks it asked for them.
            Delta::Choice(_) | Delta::Prompt(_) | Delta::Token(_) => {}
        }
    }

    fn fail(&mut self, fault: &Fault, out: &mut BytesMut) {
        put(out, "error", &error::Body::of(fault, None));
    }

    fn keep_alive(&mut self, out: &mut BytesMut) {
        put(out, "ping", &Event::Ping);
    }
}

/// Returns the id of an answer that clients see.
pub(super) fn message_id(envelope: &Envelope) -> String {
    format!("msg_{}", envelope.unique)
}

/// Appends one event. Its JSON has no line breaks, so no content can forge the end of an event.
fn put<T: Serialize>(out: &mut BytesMut, name: &str, event: &T) {
    out.put_slice(b"event: ");
    out.put_slice(name.as_bytes());
    out.put_slice(b"\ndata: ");
    serde_json::to_writer(out.writer(), event)
        .expect("strings and numbers always serialise, and memory takes them");
    out.put_slice(b"\n\n");
}
