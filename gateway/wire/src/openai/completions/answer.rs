//! The answers: whole, as a stream, and what a stream that passes through says of itself.

use bytes::{BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::call::Content;
use crate::json::Text;
use crate::openai::chat::finish_reason;
use crate::openai::chunk::Chunk;
use crate::openai::error::{ErrorBody, to_json};
use crate::openai::logprobs::{Place, TextLogprobs, ids};
use crate::openai::stage::Stage;
use crate::openai::usage::{UsageBody, read_usage};
use crate::reply::{
    Begin, Delta, Envelope, EventReader, Fault, FinishReason, Open, Reply, Shown, StreamWriter, Token, Told,
    Unreadable,
};
use crate::sse::{self, Event};
use crate::{Usage, UsageChunk};

#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: &'a [Choice<'a>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageBody>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: usize,
    text: &'a str,
    logprobs: Option<TextLogprobs>,
    finish_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_ids: Option<Vec<u32>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_token_ids: Option<Vec<u32>>,
}

/// Writes a whole answer, with as much of its tokens as is `shown`.
pub fn write_reply(reply: &Reply, envelope: &Envelope, shown: Shown) -> Bytes {
    let replies: Vec<&Reply> = std::iter::once(reply).chain(&reply.others).collect();
    let texts: Vec<String> = replies.iter().map(|reply| text_of(reply)).collect();
    let choice = |(index, reply): (usize, &&Reply)| {
        let Told { prompt, tokens } = &reply.told;
        let text = &texts[index];
        let echoed = if shown.echo { prompt.as_slice() } else { &[] };
        let mut place = Place::before(echoed, text);
        let logprobs = || TextLogprobs::of(echoed.iter().chain(tokens), &mut place);
        Choice {
            index,
            text,
            logprobs: shown.logprobs.then(logprobs),
            finish_reason: Some(word(reply.finish.reason)),
            token_ids: shown.token_ids.then(|| ids(tokens)),
            prompt_token_ids: shown.token_ids.then(|| ids(prompt)),
        }
    };
    let choices: Vec<Choice<'_>> = replies.iter().enumerate().map(choice).collect();
    to_json(&Body {
        id: &id_of(envelope),
        object: "text_completion",
        created: envelope.created_s,
        model: &envelope.model,
        choices: &choices,
        usage: reply.usage.as_ref().map(UsageBody::from),
    })
}

fn text_of(reply: &Reply) -> String {
    let texts = reply.blocks.iter().filter_map(|block| match &block.content {
        Content::Text(text) => Some(text.as_str()),
        _ => None,
    });
    texts.collect()
}

fn id_of(envelope: &Envelope) -> String {
    format!("cmpl-{}", envelope.unique)
}

fn word(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Length => "length",
        FinishReason::ContentFilter => "content_filter",
        _ => "stop",
    }
}

/// Reads a provider's whole answer; of several choices, the first.
///
/// # Errors
/// Returns the error that an answer with a good status holds, or that it is no completion.
pub fn read_reply(body: &[u8]) -> Result<Reply, Unreadable> {
    let chunk = Chunk::<ReadChoice<'_>>::read(body.trim_ascii())?;
    let choice = chunk.choices.into_iter().flatten().min_by_key(|choice| choice.index);
    let Some(ReadChoice { text: Some(text), finish_reason: reason, .. }) = choice else {
        return Err(Unreadable::Malformed("the answer is no completion"));
    };
    let reason = reason.as_deref().map_or(FinishReason::Other, finish_reason);
    Ok(Reply {
        id: chunk.id.map(Text::into_owned),
        blocks: vec![Content::Text(text.into_owned()).into()],
        finish: reason.into(),
        usage: chunk.usage.and_then(read_usage),
        told: Told::default(),
        others: Vec::new(),
    })
}

/// Writes the events of one streamed completion.
#[derive(Debug)]
pub struct Writer {
    id: String,
    created_s: u64,
    model: String,
    usage_chunk: UsageChunk,
    usage: Option<Usage>,
    shown: Shown,
    /// By index, as far as something was said of them.
    choices: Vec<Said>,
    current: usize,
}

/// Where one choice stands.
#[derive(Debug, Default)]
struct Said {
    /// Tokens that stand on no chunk yet, those of an echoed prompt among them.
    pending: Vec<Token>,
    /// How many of them are the prompt's.
    echoed: usize,
    /// The prompt's numbers, until they stand on a chunk.
    prompt_ids: Option<Vec<u32>>,
    /// Where the next token begins in the text; unknown before the first chunk.
    place: Option<Place>,
}

impl Writer {
    /// Creates the writer of the reply that `envelope` identifies, with as much of its tokens as is `shown`.
    pub fn new(envelope: &Envelope, usage_chunk: UsageChunk, shown: Shown) -> Self {
        Self {
            id: id_of(envelope),
            created_s: envelope.created_s,
            model: envelope.model.clone(),
            usage_chunk,
            usage: None,
            shown,
            choices: Vec::new(),
            current: 0,
        }
    }

    fn said(&mut self) -> &mut Said {
        if self.choices.len() <= self.current {
            self.choices.resize_with(self.current + 1, Said::default);
        }
        &mut self.choices[self.current]
    }

    fn prompt(&mut self, prompt: &[Token]) {
        let shown = self.shown;
        let said = self.said();
        said.prompt_ids = shown.token_ids.then(|| ids(prompt));
        if shown.echo {
            said.pending.extend_from_slice(prompt);
            said.echoed = prompt.len();
        }
    }

    fn chunk(&self, choices: &[Choice<'_>], usage: Option<UsageBody>, out: &mut BytesMut) {
        let object = "text_completion";
        let Self { id, created_s, model, .. } = self;
        sse::put_json(out, None, &Body { id, object, created: *created_s, model, choices, usage });
    }

    fn text(&mut self, text: &str, finish_reason: Option<&'static str>, out: &mut BytesMut) {
        let (shown, index) = (self.shown, self.current);
        let said = self.said();
        let pending = std::mem::take(&mut said.pending);
        let (echoed, own) = pending.split_at(std::mem::take(&mut said.echoed));
        let place = said.place.get_or_insert_with(|| Place::before(echoed, text));
        let has_logprobs = shown.logprobs && !pending.is_empty();
        let logprobs = has_logprobs.then(|| TextLogprobs::of(pending.iter(), place));
        let token_ids = shown.token_ids.then(|| ids(own));
        let prompt_token_ids = said.prompt_ids.take();
        let choice = Choice { index, text, logprobs, finish_reason, token_ids, prompt_token_ids };
        self.chunk(&[choice], None, out);
    }
}

impl StreamWriter for Writer {
    fn write(&mut self, delta: &Delta, out: &mut BytesMut) {
        match delta {
            Delta::Append(more) => self.text(more, None, out),
            Delta::Choice(index) => self.current = *index as usize,
            Delta::Prompt(prompt) => self.prompt(prompt),
            Delta::Token(token) => self.said().pending.push(token.clone()),
            Delta::Usage(usage) => self.usage = Some(*usage),
            Delta::Finish(finish) => self.text("", Some(word(finish.reason)), out),
            Delta::Ping => self.keep_alive(out),
            Delta::End => {
                if let (UsageChunk::Wanted, Some(usage)) = (self.usage_chunk, &self.usage) {
                    self.chunk(&[], Some(UsageBody::from(usage)), out);
                }
                out.put_slice(b"data: [DONE]\n\n");
            }
            Delta::Begin(_) | Delta::Open(_) | Delta::Seal(_) | Delta::Close => {}
        }
    }

    fn fail(&mut self, fault: &Fault, out: &mut BytesMut) {
        out.extend_from_slice(&ErrorBody::from(fault).to_event());
    }

    fn keep_alive(&mut self, out: &mut BytesMut) {
        out.put_slice(b": keep-alive\n\n");
    }
}

/// Reads the events of one streamed completion; of several choices, the first.
#[derive(Debug, Default)]
pub struct Reader {
    stage: Stage,
    is_usage_alone: bool,
}

#[derive(Deserialize)]
struct ReadChoice<'a> {
    #[serde(default)]
    index: u32,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
}

impl Reader {
    /// Creates a reader of a stream that has not begun.
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns whether the last event held usage and nothing else, which a caller who did not ask must not see.
    pub fn is_usage_alone(&self) -> bool {
        self.is_usage_alone
    }

    /// Says once why the answer ended.
    fn finish(&mut self, reason: FinishReason, deltas: &mut Vec<Delta>) {
        if self.stage < Stage::Finished {
            self.stage = Stage::Finished;
            deltas.extend([Delta::Close, Delta::Finish(reason.into())]);
        }
    }
}

impl EventReader for Reader {
    fn read(&mut self, event: &Event, deltas: &mut Vec<Delta>) -> Result<(), Unreadable> {
        self.is_usage_alone = false;
        if self.stage == Stage::Ended {
            return Ok(());
        }
        let data = event.data().trim_ascii();
        if data == "[DONE]" {
            if self.stage == Stage::Silent {
                return Err(Unreadable::Malformed("it ends before it begins"));
            }
            self.finish(FinishReason::Other, deltas);
            self.stage = Stage::Ended;
            deltas.push(Delta::End);
            return Ok(());
        }
        let chunk = Chunk::<ReadChoice<'_>>::read(data.as_bytes())?;
        if self.stage == Stage::Silent {
            self.stage = Stage::Begun;
            let id = chunk.id.map(Text::into_owned).filter(|id| !id.is_empty());
            deltas.push(Delta::Begin(Begin { id, usage: None }));
            deltas.push(Delta::Open(Open::Text));
        }
        let usage = chunk.usage.and_then(read_usage);
        let choices = chunk.choices.unwrap_or_default();
        self.is_usage_alone = usage.is_some() && choices.is_empty();
        for choice in choices.into_iter().filter(|choice| choice.index == 0) {
            let text = choice.text.filter(|text| !text.is_empty() && self.stage < Stage::Finished);
            deltas.extend(text.map(|text| Delta::Append(text.into_owned())));
            if let Some(reason) = choice.finish_reason.filter(|reason| !reason.is_empty()) {
                self.finish(finish_reason(&reason), deltas);
            }
        }
        deltas.extend(usage.map(Delta::Usage));
        Ok(())
    }
}
