//! What a request gets back: pieces of text and tool calls as they form, then exactly one end.
//!
//! Token ids become text here, on the reader's task, so that the engine thread never waits for one. Dropping
//! [`Events`] is the one way to cancel: the engine thread sees the closed channel before its next step and
//! frees the sequence's blocks.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::text::{Emission, Output};

/// A piece of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
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

/// What the engine thread sends for one sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// The sequence runs, and this many of its prompt's tokens were there already.
    Begun {
        cached_tokens: usize,
    },
    Token(u32),
    /// The token that ends the model's turn; it has no text.
    TurnEnd,
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
    ready: VecDeque<Event>,
    usage: Usage,
    called_tools: bool,
    ended: bool,
}

impl Events {
    pub(crate) fn new(progress: mpsc::Receiver<Progress>, output: Output, prompt_tokens: usize) -> Self {
        let usage = Usage { prompt_tokens, ..Usage::default() };
        Self { progress, output, ready: VecDeque::new(), usage, called_tools: false, ended: false }
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
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.ended {
                return None;
            }
            match self.progress.recv().await {
                Some(Progress::Begun { cached_tokens }) => self.usage.cached_tokens = cached_tokens,
                Some(Progress::Token(token)) => {
                    self.usage.completion_tokens += 1;
                    self.usage.reasoning_tokens += usize::from(self.output.thinks());
                    let pieces = self.output.push(token);
                    self.queue(pieces);
                    if self.output.matched_stop().is_some() {
                        self.end(FinishReason::Stop);
                    }
                }
                Some(Progress::TurnEnd) => {
                    self.usage.completion_tokens += 1;
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
