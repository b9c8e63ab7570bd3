//! What a caller asks of a model, in no dialect's words: a conversation, the tools, and how to answer.
//!
//! Every dialect of a client is read into a [`Call`], and every API of a provider is written from one, so that n
//! dialects and m APIs take n + m translations and not n * m. The bytes of a call that goes to an API of the client's
//! own dialect never take this way: they pass through.
//!
//! Nothing is lost silently. What a dialect says and a `Call` has no place for stands in [`Call::extras`]; whoever
//! writes a `Call` for an API answers with the names of what that API could not be told ([`Lost`]).
//!
//! Deliberately absent: where the call goes and what it may cost, which are the policy's.

mod content;
mod lost;
mod seal;
mod settings;
mod tool;

pub use content::{Block, CacheMark, Content, Document, Image, Reasoning, Role, Source, ToolResult, Turn};
pub use lost::{Lost, Outgoing, Target, Untranslatable};
pub use seal::Seal;
pub use settings::{Effort, Extra, Format, Sampling, Thinking};
pub(crate) use tool::shortened;
pub use tool::{Namespace, Tool, ToolCall, ToolChoice, ToolKind};

/// One call of a model: everything but where it goes.
#[derive(Clone, PartialEq, Default)]
pub struct Call {
    /// The model that the caller named, not empty.
    pub model: String,
    /// The conversation so far, in order; instructions are turns of [`Role::System`] where they were written.
    pub turns: Vec<Turn>,
    /// How many of the first turns are instructions for this call alone, which no call that continues it inherits.
    pub own_instructions: usize,
    /// The tools on offer.
    pub tools: Vec<Tool>,
    /// Which of the tools the caller groups under a name; they stand among [`tools`](Self::tools) under flat names.
    pub namespaces: Vec<Namespace>,
    /// Whether a tool must be called.
    pub tool_choice: ToolChoice,
    /// Whether several tools may be called in one answer; absent leaves it to the model.
    pub parallel_tools: Option<bool>,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Most tokens of the answer, at least 1.
    pub max_tokens: Option<u32>,
    /// Strings that end the answer and are not part of it; none is empty.
    pub stop: Vec<String>,
    /// Answers to give, at least 1; absent is 1.
    pub choices: Option<u32>,
    /// The form of the text.
    pub format: Format,
    /// How much the model is to think before it answers.
    pub thinking: Thinking,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// The end user on whose behalf the caller acts.
    pub user: Option<String>,
    /// Whether the provider may keep the exchange, where the caller says so.
    pub store: Option<bool>,
    /// Fields of the caller's dialect that no other dialect has, in order.
    pub extras: Vec<Extra>,
}

/// Shows the shape only: calls end up in log lines by accident, and prompts must not.
impl std::fmt::Debug for Call {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Call")
            .field("model", &self.model)
            .field("turns", &self.turns.len())
            .field("tools", &self.tools.len())
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

impl Call {
    /// Returns the instructions that stand before everything else, and the turns behind them.
    ///
    /// Most APIs take instructions apart from the conversation, and have no place for later ones.
    pub fn split_instructions(&self) -> (&[Turn], &[Turn]) {
        let is_instruction = |turn: &Turn| turn.role == Role::System;
        let leading = self.turns.iter().take_while(|turn| is_instruction(turn)).count();
        self.turns.split_at(leading)
    }

    /// Returns the tool `name`, if it is on offer.
    pub fn tool(&self, name: &str) -> Option<&Tool> {
        self.tools.iter().find(|tool| tool.name == name)
    }

    /// Returns the namespace and the tool's name in it, if the caller knows the tool `flat` by such.
    pub fn namespaced(&self, flat: &str) -> Option<(&str, &str)> {
        Namespace::find(&self.namespaces, flat)
    }

    /// Adds the names of all [`extras`](Self::extras) that say something: not one of them crosses to another dialect.
    pub fn lose_extras(&self, lost: &mut Lost) {
        lost.note_extras(&self.extras);
    }
}
