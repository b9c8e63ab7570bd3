//! A whole answer, made of its deltas, and taken apart into them.

use super::{Begin, Delta, Envelope, Finish, FinishReason, Open, Told};
use crate::Usage;
use crate::call::{Block, Content, Reasoning, Seal, ToolCall};

/// A whole answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// The provider's id of the answer.
    pub id: Option<String>,
    /// Text, reasoning, refusals and tool calls, in order.
    pub blocks: Vec<Block>,
    /// Why it ended.
    pub finish: Finish,
    /// What it consumed, if anybody counted.
    pub usage: Option<Usage>,
    /// Its tokens, as far as they were asked for.
    pub told: Told,
    /// The choices after the first one, in order; those have no id, no usage and no further choices.
    pub others: Vec<Reply>,
}

/// Puts the deltas of one stream together.
#[derive(Debug, Default)]
pub struct Assembler {
    begin: Begin,
    /// By index; none before something is said.
    choices: Vec<Choice>,
    current: usize,
    usage: Option<Usage>,
    has_ended: bool,
}

/// One choice in the making.
#[derive(Debug, Default)]
struct Choice {
    blocks: Vec<Block>,
    open: Option<(Open, String, Option<String>)>,
    finish: Option<Finish>,
    told: Told,
}

impl Assembler {
    /// Takes the next delta; `envelope` names the provider whose seals these are.
    pub fn push(&mut self, delta: Delta, envelope: &Envelope) {
        match delta {
            Delta::Begin(begin) => {
                self.usage = begin.usage.or(self.usage);
                self.begin = begin;
            }
            Delta::Choice(index) => self.current = index as usize,
            Delta::Usage(usage) => self.usage = Some(usage),
            Delta::Ping => {}
            Delta::End => self.has_ended = true,
            delta => self.choice().push(delta, envelope),
        }
    }

    fn choice(&mut self) -> &mut Choice {
        if self.choices.len() <= self.current {
            self.choices.resize_with(self.current + 1, Choice::default);
        }
        &mut self.choices[self.current]
    }

    /// Returns the answer, or nothing if its end has not come.
    pub fn finish(self) -> Option<Reply> {
        if !self.has_ended {
            return None;
        }
        let mut choices = self.choices.into_iter().map(Choice::finish);
        let mut reply = choices.next().unwrap_or_else(|| Choice::default().finish());
        reply.others = choices.collect();
        (reply.id, reply.usage) = (self.begin.id, self.usage);
        Some(reply)
    }
}

impl Choice {
    fn push(&mut self, delta: Delta, envelope: &Envelope) {
        match delta {
            Delta::Open(open) => self.open = Some((open, String::new(), None)),
            Delta::Append(more) => {
                if let Some((_, text, _)) = &mut self.open {
                    text.push_str(&more);
                }
            }
            Delta::Seal(data) => {
                if let Some((_, _, seal)) = &mut self.open {
                    *seal = Some(data);
                }
            }
            Delta::Close => {
                let open = self.open.take();
                self.blocks.extend(open.map(|open| block(open, envelope)));
            }
            Delta::Finish(finish) => self.finish = Some(finish),
            Delta::Prompt(prompt) => self.told.prompt = prompt,
            Delta::Token(token) => self.told.tokens.push(token),
            // These are of the answer as a whole.
            Delta::Begin(_) | Delta::Choice(_) | Delta::Usage(_) | Delta::Ping | Delta::End => {}
        }
    }

    fn finish(self) -> Reply {
        let finish = self.finish.unwrap_or_else(|| FinishReason::Other.into());
        Reply { id: None, blocks: self.blocks, finish, usage: None, told: self.told, others: Vec::new() }
    }
}

fn block((open, text, seal): (Open, String, Option<String>), envelope: &Envelope) -> Block {
    let seal = || seal.map(|data| Seal::of(&envelope.provider, data));
    let content = match open {
        Open::Text => Content::Text(text),
        Open::Refusal => Content::Refusal(text),
        Open::Reasoning => Content::Reasoning(Reasoning { text, seal: seal(), is_redacted: false }),
        Open::RedactedReasoning => Content::Reasoning(Reasoning { text, seal: seal(), is_redacted: true }),
        Open::ToolCall { id, name } => Content::ToolCall(ToolCall { id, name, arguments: text }),
    };
    content.into()
}

/// Takes a whole answer apart, for a client that asked for a stream of a provider that gave none.
pub fn deltas_of(reply: Reply) -> Vec<Delta> {
    let mut deltas = vec![Delta::Begin(Begin { id: reply.id, usage: None })];
    for block in reply.blocks {
        let (open, text, seal) = match block.content {
            Content::Text(text) => (Open::Text, text, None),
            Content::Refusal(text) => (Open::Refusal, text, None),
            Content::Reasoning(Reasoning { text, seal, is_redacted }) => {
                let open = if is_redacted { Open::RedactedReasoning } else { Open::Reasoning };
                (open, text, seal)
            }
            Content::ToolCall(ToolCall { id, name, arguments }) => {
                (Open::ToolCall { id, name }, arguments, None)
            }
            // Answers hold nothing else; see `Reply::blocks`.
            _ => continue,
        };
        deltas.push(Delta::Open(open));
        if !text.is_empty() {
            deltas.push(Delta::Append(text));
        }
        deltas.extend(seal.map(|seal| Delta::Seal(seal.data)));
        deltas.push(Delta::Close);
    }
    deltas.push(Delta::Finish(reply.finish));
    deltas.extend(reply.usage.map(Delta::Usage));
    deltas.push(Delta::End);
    deltas
}
