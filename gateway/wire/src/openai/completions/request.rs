//! The body of `POST /v1/completions`, for a model of our own.

use serde_json::value::RawValue;

use crate::ParseError;
use crate::call::{Extra, Sampling};
use crate::json::read::{self, Object};
use crate::openai::chat::{Logprobs, read_extras, read_sampling, read_stop};
use crate::openai::local::Local;

/// Tokens of an answer whose length nobody asked for, as the API has it.
const MAX_TOKENS_DEFAULT: u32 = 16;

/// Most answers to one request, those to all of its prompts together.
const CHOICES_MAX: u32 = 128;
/// Most alternatives per token.
const LOGPROBS_MAX: u32 = 20;

/// The fields that have a place in a [`Completion`].
const READ: [&str; 18] = [
    "model",
    "prompt",
    "max_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "stop",
    "n",
    "best_of",
    "echo",
    "logprobs",
    "stream",
    "stream_options",
    "user",
];

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// What is to be continued, each on its own; at least one.
    pub prompts: Vec<Prompt>,
    /// Most tokens of each answer; 0 only repeats the prompt.
    pub max_tokens: u32,
    /// How tokens are drawn.
    pub sampling: Sampling,
    /// Strings that end the answer and are not part of it; none is empty.
    pub stop: Vec<String>,
    /// Answers to give to each prompt, at least 1.
    pub choices: u32,
    /// The prompt is to be repeated before the answer.
    pub echo: bool,
    /// What only a model of our own is told.
    pub local: Local,
    /// Fields that are not read, in order.
    pub extras: Vec<Extra>,
}

/// What is to be continued.
#[derive(Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Text, perhaps empty.
    Text(String),
    /// What a tokenizer made of one.
    Tokens(Vec<u32>),
}

/// Shows the size only: prompts must not reach a log.
impl std::fmt::Debug for Prompt {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => write!(formatter, "Text({} bytes)", text.len()),
            Self::Tokens(tokens) => write!(formatter, "Tokens({})", tokens.len()),
        }
    }
}

/// Reads a checked body.
///
/// # Errors
/// Returns the first field that is missing or wrong.
pub fn read_completion(body: &[u8]) -> Result<Completion, ParseError> {
    let top = Object::read_document(body)?;
    let count = |name| top.optional(name, read::count(1..=CHOICES_MAX));
    let choices = count("n")?.unwrap_or(1);
    if count("best_of")?.is_some_and(|best_of| best_of != choices) {
        let reason = "the best of several answers is not looked for; ask for all of them with `n`, and for `logprobs` to choose";
        return Err(ParseError::bad_value(reason).under_key("best_of"));
    }
    // A number of alternatives here, and not a switch as in chat.
    let logprobs = top.optional("logprobs", read::count(0..=LOGPROBS_MAX))?;
    let logprobs = logprobs.map(|alternatives| u8::try_from(alternatives).unwrap_or(u8::MAX));
    let sampling = Sampling { logprobs, ..read_sampling(&top, Logprobs::Elsewhere)? };
    let echo = top.optional("echo", read::boolean)?.unwrap_or(false);
    let least = u32::from(!echo);
    let max_tokens = top.optional("max_tokens", read::count(least..=u32::MAX))?;
    let prompts = top.required("prompt", read_prompts)?;
    if prompts.len() as u64 * u64::from(choices) > u64::from(CHOICES_MAX) {
        let reason = format!("asks for more than {CHOICES_MAX} answers with its `n`; send several requests");
        return Err(ParseError::bad_value(reason).under_key("prompt"));
    }
    let mut extras = read_extras(&top, &READ);
    Ok(Completion {
        prompts,
        max_tokens: max_tokens.unwrap_or(MAX_TOKENS_DEFAULT),
        sampling,
        stop: top.optional("stop", read_stop)?.unwrap_or_default(),
        choices,
        echo,
        local: Local::take(&mut extras)?,
        extras,
    })
}

const PROMPT: &str = "a string, a list of token ids, or a list of either";

/// Reads one prompt or a list of them.
fn read_prompts(raw: &RawValue) -> Result<Vec<Prompt>, ParseError> {
    if read::type_name(raw) == "a string" {
        return Ok(vec![read_prompt(raw)?]);
    }
    let elements = read::each(raw, Ok).map_err(|_| ParseError::wrong_type(PROMPT, read::type_name(raw)))?;
    match elements.first().map(|first| read::type_name(first)) {
        None => Err(ParseError::bad_value("must not be empty")),
        Some("a number") => Ok(vec![read_prompt(raw)?]),
        Some(_) => read::each(raw, read_prompt),
    }
}

fn read_prompt(raw: &RawValue) -> Result<Prompt, ParseError> {
    match read::type_name(raw) {
        "a string" => read::string(raw).map(Prompt::Text),
        "a list" => read::each(raw, read::count(0..=u32::MAX)).map(Prompt::Tokens),
        other => Err(ParseError::wrong_type(PROMPT, other)),
    }
}
