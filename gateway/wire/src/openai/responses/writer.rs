//! The answer as a stream of events.
//!
//! Clients demand the order: `created`, `in_progress`, each item from `output_item.added` to `output_item.done`, and
//! one last event with the whole answer. An item is only called done when it is known what comes behind it, because
//! the last one of a truncated answer is incomplete. There is no `[DONE]`.

use bytes::{BufMut, BytesMut};
use serde::Serialize;
use serde_json::value::RawValue;

use super::item::{Item, ItemBody, ItemContent, Names, PartBody, Status};
use super::object::{Body, Object, State, raw};
use crate::Usage;
use crate::call::Call;
use crate::reply::{Delta, Envelope, Fault, FinishReason, Open, StreamWriter};
use crate::sse::put_json;

/// Writes one answer.
pub struct Writer {
    names: Names,
    object: Object,
    sequence_number: u64,
    has_begun: bool,
    current: Option<Current>,
    /// The items that are done, which the last event repeats.
    output: Vec<Box<RawValue>>,
    finish: Option<FinishReason>,
    usage: Option<Usage>,
}

struct Current {
    item: Item,
    is_closed: bool,
}

/// One event; each kind has some of the members.
#[derive(Serialize, Default)]
struct EventBody<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    sequence_number: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_index: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary_index: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delta: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<[(); 0]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    part: Option<PartBody<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<AnyItem<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<Body<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum AnyItem<'a> {
    Begun(ItemBody<'a>),
    Done(&'a RawValue),
}

impl Writer {
    /// Starts the answer to `call`; the tools and settings that it repeats are those of the call as it came.
    pub fn new(envelope: Envelope, call: &Call) -> Self {
        Self {
            object: Object::new(&envelope, call),
            names: Names::new(envelope, call),
            sequence_number: 0,
            has_begun: false,
            current: None,
            output: Vec::new(),
            finish: None,
            usage: None,
        }
    }

    fn begin(&mut self, out: &mut BytesMut) {
        self.has_begun = true;
        for kind in ["response.created", "response.in_progress"] {
            self.lifecycle(kind, &State::Running, out);
        }
    }

    fn lifecycle(&mut self, kind: &'static str, state: &State<'_>, out: &mut BytesMut) {
        let response = self.object.body(state, &self.output, self.usage.as_ref());
        let sequence_number = next(&mut self.sequence_number);
        event(out, &EventBody { kind, sequence_number, response: Some(response), ..EventBody::default() });
    }

    fn open(&mut self, open: &Open, out: &mut BytesMut) {
        self.end_item(Status::Completed, out);
        let item = self.names.open(open, self.output.len());
        let begun = AnyItem::Begun(item.body(Status::InProgress));
        let sequence_number = next(&mut self.sequence_number);
        let output_index = Some(self.output.len());
        let kind = "response.output_item.added";
        event(
            out,
            &EventBody { kind, sequence_number, output_index, item: Some(begun), ..EventBody::default() },
        );
        if let Some(kinds) = Kinds::of(&item.content).filter(|kinds| !kinds.part_added.is_empty()) {
            let part = item.part();
            self.item_event(&item, kinds.part_added, EventBody { part, ..kinds.place() }, out);
        }
        self.current = Some(Current { item, is_closed: false });
    }

    fn append(&mut self, more: &str, out: &mut BytesMut) {
        let Some(mut current) = self.current.take() else { return };
        current.item.append(more);
        // What a custom tool gets is known when it is complete.
        let is_plain = !matches!(current.item.content, ItemContent::CustomCall { .. });
        if let Some(kinds) = Kinds::of(&current.item.content).filter(|_| is_plain) {
            self.delta(&current.item, &kinds, more, out);
        }
        self.current = Some(current);
    }

    fn delta(&mut self, item: &Item, kinds: &Kinds, delta: &str, out: &mut BytesMut) {
        let logprobs = matches!(item.content, ItemContent::Text(_)).then_some([]);
        self.item_event(item, kinds.delta, EventBody { delta: Some(delta), logprobs, ..kinds.place() }, out);
    }

    /// Writes the end of the item that was closed, if there is one.
    fn end_item(&mut self, status: Status, out: &mut BytesMut) {
        let Some(Current { mut item, .. }) = self.current.take() else { return };
        let was_empty =
            matches!(&item.content, ItemContent::FunctionCall { arguments, .. } if arguments.is_empty());
        item.complete();
        if let Some(kinds) = Kinds::of(&item.content) {
            let late = match &item.content {
                ItemContent::CustomCall { input, .. } => Some(input),
                ItemContent::FunctionCall { arguments, .. } if was_empty => Some(arguments),
                _ => None,
            };
            if let Some(late) = late {
                self.delta(&item, &kinds, late, out);
            }
            self.item_event(&item, kinds.done, kinds.whole(&item.content), out);
            if !kinds.part_done.is_empty() {
                self.item_event(
                    &item,
                    kinds.part_done,
                    EventBody { part: item.part(), ..kinds.place() },
                    out,
                );
            }
        }
        let whole = raw(&item.body(status));
        let sequence_number = next(&mut self.sequence_number);
        let output_index = Some(self.output.len());
        let kind = "response.output_item.done";
        let done = Some(AnyItem::Done(&whole));
        event(out, &EventBody { kind, sequence_number, output_index, item: done, ..EventBody::default() });
        self.output.push(whole);
    }

    fn item_event(&mut self, item: &Item, kind: &'static str, body: EventBody<'_>, out: &mut BytesMut) {
        let sequence_number = next(&mut self.sequence_number);
        let output_index = Some(self.output.len());
        event(out, &EventBody { kind, sequence_number, output_index, item_id: Some(&item.id), ..body });
    }

    fn end(&mut self, out: &mut BytesMut) {
        self.end_item(Status::Completed, out);
        let state = State::Ended(self.finish.unwrap_or(FinishReason::Other));
        let kind = if state.is_incomplete() { "response.incomplete" } else { "response.completed" };
        self.lifecycle(kind, &state, out);
    }
}

impl StreamWriter for Writer {
    fn write(&mut self, delta: &Delta, out: &mut BytesMut) {
        match delta {
            Delta::Begin(begin) => {
                self.begin(out);
                self.usage = begin.usage.or(self.usage);
            }
            Delta::Open(open) => self.open(open, out),
            Delta::Append(more) => self.append(more, out),
            Delta::Seal(data) => {
                if let Some(current) = &mut self.current {
                    current.item.seal(self.names.sealed(data));
                }
            }
            Delta::Close => {
                if let Some(current) = &mut self.current {
                    current.is_closed = true;
                }
            }
            Delta::Usage(usage) => self.usage = Some(*usage),
            Delta::Finish(finish) => {
                let is_incomplete = State::Ended(finish.reason).is_incomplete();
                self.end_item(if is_incomplete { Status::Incomplete } else { Status::Completed }, out);
                self.finish = Some(finish.reason);
            }
            Delta::Ping => self.keep_alive(out),
            Delta::End => self.end(out),
            // The dialect has neither choices nor tokens, and nobody who speaks it asked for them.
            Delta::Choice(_) | Delta::Prompt(_) | Delta::Token(_) => {}
        }
    }

    fn fail(&mut self, fault: &Fault, out: &mut BytesMut) {
        if !self.has_begun {
            self.begin(out);
        }
        if self.current.as_ref().is_some_and(|current| current.is_closed) {
            self.end_item(Status::Completed, out);
        }
        self.lifecycle("response.failed", &State::Failed(fault), out);
    }

    fn keep_alive(&mut self, out: &mut BytesMut) {
        out.put_slice(b": keep-alive\n\n");
    }
}

/// What the events of an item are called.
struct Kinds {
    part_added: &'static str,
    delta: &'static str,
    done: &'static str,
    part_done: &'static str,
    content_index: Option<u32>,
    summary_index: Option<u32>,
}

impl Kinds {
    /// Returns the names for items of this content; redacted reasoning has no events of its own.
    fn of(content: &ItemContent) -> Option<Self> {
        let part = Self {
            part_added: "response.content_part.added",
            delta: "response.output_text.delta",
            done: "response.output_text.done",
            part_done: "response.content_part.done",
            content_index: Some(0),
            summary_index: None,
        };
        let call = Self { part_added: "", part_done: "", content_index: None, ..part };
        match content {
            ItemContent::Text(_) => Some(part),
            ItemContent::Refusal(_) => {
                Some(Self { delta: "response.refusal.delta", done: "response.refusal.done", ..part })
            }
            ItemContent::Reasoning { is_redacted: true, .. } => None,
            ItemContent::Reasoning { .. } => Some(Self {
                part_added: "response.reasoning_summary_part.added",
                delta: "response.reasoning_summary_text.delta",
                done: "response.reasoning_summary_text.done",
                part_done: "response.reasoning_summary_part.done",
                content_index: None,
                summary_index: Some(0),
            }),
            ItemContent::FunctionCall { .. } => Some(Self {
                delta: "response.function_call_arguments.delta",
                done: "response.function_call_arguments.done",
                ..call
            }),
            ItemContent::CustomCall { .. } => Some(Self {
                delta: "response.custom_tool_call_input.delta",
                done: "response.custom_tool_call_input.done",
                ..call
            }),
        }
    }

    /// The place inside the item that its events speak of.
    fn place<'a>(&self) -> EventBody<'a> {
        let Self { content_index, summary_index, .. } = *self;
        EventBody { content_index, summary_index, ..EventBody::default() }
    }

    /// The whole of what the deltas brought.
    fn whole<'a>(&self, content: &'a ItemContent) -> EventBody<'a> {
        let place = self.place();
        match content {
            ItemContent::Text(text) => EventBody { text: Some(text), logprobs: Some([]), ..place },
            ItemContent::Refusal(refusal) => EventBody { refusal: Some(refusal), ..place },
            ItemContent::Reasoning { text, .. } => EventBody { text: Some(text), ..place },
            ItemContent::FunctionCall { arguments, .. } => EventBody { arguments: Some(arguments), ..place },
            ItemContent::CustomCall { input, .. } => EventBody { input: Some(input), ..place },
        }
    }
}

fn next(sequence_number: &mut u64) -> u64 {
    let this = *sequence_number;
    *sequence_number += 1;
    this
}

fn event(out: &mut BytesMut, body: &EventBody<'_>) {
    put_json(out, Some(body.kind), body);
}
