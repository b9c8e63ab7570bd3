//! The events of `streamGenerateContent?alt=sse`: each is a `GenerateContentResponse` with the next parts.
//!
//! Nothing ends the stream but the connection, so what the answer finished with is kept until then: a part that
//! came after a `finishReason` would have no place otherwise.

use super::parts::{Counts, Part, Response, finish_reason};
use crate::Usage;
use crate::json::compact::compact;
use crate::reply::{Begin, Delta, EventReader, FinishReason, Open, Unreadable};
use crate::sse::Event;

/// Reads the stream of one answer.
#[derive(Debug, Default)]
pub struct Reader {
    has_begun: bool,
    response_id: Option<String>,
    open: Option<Kind>,
    calls: usize,
    usage: Option<Usage>,
    finish: Option<FinishReason>,
    has_ended: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Thought,
}

impl Reader {
    /// Creates the reader of an answer of which nothing has come.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the finish and the end, if the answer was complete when the connection ended cleanly.
    pub fn at_end(&mut self, deltas: &mut Vec<Delta>) {
        let Some(reason) = self.finish.filter(|_| !self.has_ended) else {
            return;
        };
        self.has_ended = true;
        self.close(deltas);
        let reason = if self.calls > 0 { reason.with_tool_calls() } else { reason };
        deltas.push(Delta::Finish(reason.into()));
        deltas.push(Delta::End);
    }

    /// Takes a piece of the answer, or all of it.
    pub(super) fn take(&mut self, response: Response<'_>, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        if let Some(error) = response.error {
            return Err(Unreadable::Fault(error.fault()));
        }
        self.response_id = self.response_id.take().or(response.id);
        let usage = response.usage_metadata.and_then(Counts::usage);
        if !self.has_begun {
            self.has_begun = true;
            deltas.push(Delta::Begin(Begin { id: self.response_id.clone(), usage }));
        }
        for candidate in response.candidates.into_iter().filter(|candidate| candidate.index == 0) {
            for part in candidate.content.into_iter().flat_map(|content| content.parts) {
                self.part(part, deltas)?;
            }
            self.finish = candidate.finish_reason.as_deref().and_then(finish_reason).or(self.finish);
        }
        if response.prompt_feedback.is_some_and(|feedback| feedback.block_reason.is_some()) {
            self.finish = Some(FinishReason::ContentFilter);
        }
        if usage.is_some() && usage != self.usage {
            self.usage = usage;
            deltas.extend(usage.map(Delta::Usage));
        }
        Ok(())
    }

    fn part(&mut self, part: Part<'_>, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        if part.thought {
            self.say(Kind::Thought, part.text, deltas);
            self.seal(part.thought_signature, deltas);
            return Ok(());
        }
        self.seal(part.thought_signature, deltas);
        if let Some(call) = part.function_call {
            if call.name.is_empty() {
                return Err(Unreadable::Malformed("a call has no name"));
            }
            if !call.arguments().starts_with('{') {
                return Err(Unreadable::Malformed("the arguments of a call are no object"));
            }
            self.close(deltas);
            let id = call.id_or(self.calls, self.response_id.as_deref());
            self.calls += 1;
            deltas.push(Delta::Open(Open::ToolCall { id, name: call.name.clone() }));
            deltas.push(Delta::Append(compact(call.arguments())));
            deltas.push(Delta::Close);
        }
        self.say(Kind::Text, part.text, deltas);
        Ok(())
    }

    fn say(&mut self, kind: Kind, text: Option<String>, deltas: &mut Vec<Delta>) {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return;
        };
        if self.open != Some(kind) {
            self.close(deltas);
            deltas.push(Delta::Open(if kind == Kind::Text { Open::Text } else { Open::Reasoning }));
            self.open = Some(kind);
        }
        deltas.push(Delta::Append(text));
    }

    /// Puts the signature of a part in front of it: on the thoughts that led to it, or on a block of its own.
    fn seal(&mut self, signature: Option<String>, deltas: &mut Vec<Delta>) {
        let Some(signature) = signature.filter(|signature| !signature.is_empty()) else {
            return;
        };
        if self.open != Some(Kind::Thought) {
            self.close(deltas);
            deltas.push(Delta::Open(Open::RedactedReasoning));
            self.open = Some(Kind::Thought);
        }
        deltas.push(Delta::Seal(signature));
        self.close(deltas);
    }

    fn close(&mut self, deltas: &mut Vec<Delta>) {
        if self.open.take().is_some() {
            deltas.push(Delta::Close);
        }
    }
}

impl EventReader for Reader {
    fn read(&mut self, event: &Event, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        if self.has_ended {
            return Ok(());
        }
        let response = serde_json::from_str(event.data())
            .map_err(|_| Unreadable::Malformed("an event is no GenerateContentResponse"))?;
        self.take(response, deltas)
    }

    fn end(&mut self, deltas: &mut Vec<Delta>) {
        self.at_end(deltas);
    }
}
