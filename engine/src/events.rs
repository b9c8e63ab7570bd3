//! What a request gets back: pieces of text and tool calls as they form, then exactly one end.
//!
//! Token ids become text here, on the reader's task, so that the engine thread never waits for one. Dropping
//! [`Events`] is the one way to cancel: the engine thread sees the closed channel before its next step and
//! frees the sequence's blocks.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use tokio::sync::mpsc;

use crate::request::{Detail, Report};
use crate::sampler::Logprobs;
use crate::text::{Emission, Output, Spelling};

/// A piece of a reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The tokens of the prompt, if they were asked for; before everything else.
    Prompt(Vec<Token>),
    /// The next token of the reply, if they were asked for; before the text that it completes. The token that ends
    /// the reply has one too, and no text; so have the tokens of a stop string.
    Token(Token),
    /// More text.
    Text(String),
    /// More of what the model thinks before it answers.
    Reasoning(String),
    /// The model calls a tool. Arguments follow, and exactly one end of the call, before anything else.
    ToolCallBegin {
        /// The tool.
        name: String,
    },
    /// More of the arguments of the call that began, as the model wrote them: together JSON text, unless the call
    /// was cut or the model made a mistake.
    ToolArguments(String),
    /// The call is over.
    ToolCallEnd,
    /// The reply is complete. Nothing follows.
    Finished {
        /// Why it ended.
        reason: FinishReason,
        /// The stop string that was met; none if something else ended the reply.
        matched_stop: Option<String>,
        /// What it took.
        usage: Usage,
    },
    /// The engine could not go on. Nothing follows.
    Failed,
}

/// A token as its model sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    /// Its number.
    pub id: u32,
    /// The bytes that it stands for, which may be a part of a character; the name of a special token.
    pub bytes: Vec<u8>,
    /// Its log-probability, if that was asked for and something stands before it.
    pub logprob: Option<f32>,
    /// The likeliest tokens in its place, the likeliest first.
    pub alternatives: Vec<Alternative>,
}

/// A token that could have stood in another's place.
#[derive(Clone, Debug, PartialEq)]
pub struct Alternative {
    /// Its number.
    pub id: u32,
    /// The bytes that it stands for.
    pub bytes: Vec<u8>,
    /// Its log-probability.
    pub logprob: f32,
}

/// Why a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended its turn, a stop string was met, or nothing can follow in the form that was asked for.
    Stop,
    /// The token limit was reached.
    Length,
    /// The model ended its turn with tool calls.
    ToolCalls,
}

/// Tokens of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Those of them whose keys and values the prefix cache still had.
    pub cached_tokens: usize,
    /// Tokens generated, the one that ended the turn included.
    pub completion_tokens: usize,
    /// Those of them that were thought, the closing tag included.
    pub reasoning_tokens: usize,
}

/// A token that was drawn.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Drawn {
    pub(crate) token: u32,
    /// `None` if nobody asked.
    pub(crate) logprobs: Option<Logprobs>,
}

/// What the engine thread sends for one sequence.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Progress {
    /// The sequence runs, and this many of its prompt's tokens were there already.
    Begun {
        cached_tokens: usize,
    },
    /// The log-probabilities of the prompt's tokens from the second one on. Sent if they are wanted, once, first.
    Prompt(Vec<Logprobs>),
    Token(Drawn),
    /// The token that ends the reply; it has no text.
    TurnEnd(Drawn),
    /// The grammar of the reply is complete.
    FormComplete,
    LengthReached,
    Failed,
}

/// The reply to one request, in order.
#[derive(Debug)]
pub struct Events {
    progress: mpsc::Receiver<Progress>,
    output: Output,
    telling: Telling,
    /// Tokens within which no stop string counts.
    min_tokens: usize,
    ready: VecDeque<Event>,
    usage: Usage,
    called_tools: bool,
    ended: bool,
}

impl Events {
    pub(crate) fn new(
        progress: mpsc::Receiver<Progress>,
        output: Output,
        telling: Telling,
        prompt_tokens: usize,
    ) -> Self {
        let usage = Usage { prompt_tokens, ..Usage::default() };
        let ready = telling.prompt_at_once().into_iter().collect();
        Self { progress, output, telling, min_tokens: 0, ready, usage, called_tools: false, ended: false }
    }

    /// No stop string counts within so many tokens.
    pub(crate) fn with_least(mut self, min_tokens: usize) -> Self {
        self.min_tokens = min_tokens;
        self
    }

    /// Tokens of the prompt.
    pub fn prompt_tokens(&self) -> usize {
        self.usage.prompt_tokens
    }

    /// Tokens generated so far.
    pub fn completion_tokens(&self) -> usize {
        self.usage.completion_tokens
    }

    /// The next piece; `None` after the end. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Self::next`], for who waits for several replies at once.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Event>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(Some(event));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            match self.progress.poll_recv(context) {
                Poll::Ready(progress) => self.take(progress),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn take(&mut self, progress: Option<Progress>) {
        match progress {
            Some(Progress::Begun { cached_tokens }) => self.usage.cached_tokens = cached_tokens,
            Some(Progress::Prompt(logprobs)) => self.ready.push_back(self.telling.prompt(&logprobs)),
            Some(Progress::Token(drawn)) => {
                self.usage.completion_tokens += 1;
                self.usage.reasoning_tokens += usize::from(self.output.thinks());
                self.ready.extend(self.telling.token(&drawn));
                let pieces = if self.usage.completion_tokens > self.min_tokens {
                    self.output.push(drawn.token)
                } else {
                    self.output.pass(drawn.token)
                };
                self.queue(pieces);
                if self.output.matched_stop().is_some() {
                    self.end(FinishReason::Stop);
                }
            }
            Some(Progress::TurnEnd(drawn)) => {
                self.usage.completion_tokens += 1;
                self.ready.extend(self.telling.token(&drawn));
                self.end(FinishReason::Stop);
            }
            Some(Progress::FormComplete) => self.end(FinishReason::Stop),
            Some(Progress::LengthReached) => self.end(FinishReason::Length),
            // A closed channel without an end is a dead engine thread.
            Some(Progress::Failed) | None => {
                self.ended = true;
                self.ready.push_back(Event::Failed);
            }
        }
    }

    fn queue(&mut self, pieces: Vec<Emission>) {
        for piece in pieces {
            self.called_tools |= matches!(piece, Emission::CallBegin { .. });
            self.ready.push_back(match piece {
                Emission::Text(text) => Event::Text(text),
                Emission::Reasoning(text) => Event::Reasoning(text),
                Emission::CallBegin { name } => Event::ToolCallBegin { name },
                Emission::Arguments(text) => Event::ToolArguments(text),
                Emission::CallEnd => Event::ToolCallEnd,
            });
        }
    }

    fn end(&mut self, reason: FinishReason) {
        let rest = self.output.finish();
        self.queue(rest);
        let reason = match reason {
            FinishReason::Stop if self.called_tools => FinishReason::ToolCalls,
            other => other,
        };
        let matched_stop = self.output.matched_stop().map(str::to_owned);
        self.ready.push_back(Event::Finished { reason, matched_stop, usage: self.usage });
        self.ended = true;
        self.progress.close();
    }
}

/// What a reader is told of tokens beside their text.
#[derive(Debug)]
pub(crate) struct Telling {
    report: Report,
    /// The prompt; empty if nothing is told of it.
    prompt: Vec<u32>,
    /// `None` if nothing is told.
    spelling: Option<Spelling>,
}

impl Telling {
    pub(crate) fn new(report: Report, prompt: &[u32], spelling: impl FnOnce() -> Spelling) -> Self {
        let is_told = |detail| detail != Detail::Nothing;
        let prompt = if is_told(report.prompt) { prompt.to_vec() } else { Vec::new() };
        let spelling = (is_told(report.prompt) || is_told(report.reply)).then(spelling);
        Self { report, prompt, spelling }
    }

    /// The prompt, if it takes no model to tell of it.
    fn prompt_at_once(&self) -> Option<Event> {
        (self.report.prompt == Detail::Ids).then(|| self.prompt(&[]))
    }

    /// The prompt; nothing stands before its first token, so that one has no log-probability.
    fn prompt(&self, logprobs: &[Logprobs]) -> Event {
        let logprobs = std::iter::once(None).chain(logprobs.iter().map(Some));
        let logprobs = logprobs.chain(std::iter::repeat(None));
        Event::Prompt(
            self.prompt.iter().zip(logprobs).map(|(id, logprobs)| self.tell(*id, logprobs)).collect(),
        )
    }

    fn token(&self, drawn: &Drawn) -> Option<Event> {
        let is_told = self.report.reply != Detail::Nothing;
        is_told.then(|| Event::Token(self.tell(drawn.token, drawn.logprobs.as_ref())))
    }

    fn tell(&self, id: u32, logprobs: Option<&Logprobs>) -> Token {
        let bytes = |id| self.spelling.as_ref().map(|spelling| spelling.bytes(id)).unwrap_or_default();
        let likeliest = logprobs.into_iter().flat_map(|logprobs| &logprobs.likeliest);
        let alternative =
            |(id, logprob): &(u32, f32)| Alternative { id: *id, bytes: bytes(*id), logprob: *logprob };
        Token {
            id,
            bytes: bytes(id),
            logprob: logprobs.map(|logprobs| logprobs.chosen),
            alternatives: likeliest.map(alternative).collect(),
        }
    }
}
