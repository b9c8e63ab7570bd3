//! `POST /tokenize` and `POST /detokenize`, as vLLM has them; the API's owner has neither.

use bytes::Bytes;
use serde::Serialize;

use super::chat;
use super::error::to_json;
use crate::ParseError;
use crate::call::Call;
use crate::json::read::{self, Object};
use crate::json::{Limits, check};
use crate::request::read_model;

/// Which tokens a text is.
#[derive(Debug, Clone, PartialEq)]
pub struct Tokenize {
    /// The model whose tokenizer is meant.
    pub model: String,
    /// What to tokenise.
    pub text: Text,
    /// Whether the tokens that stand around a text on its own are added; absent is as usual.
    pub special: Option<bool>,
    /// The tokens are wanted as strings, too.
    pub wants_strings: bool,
}

/// What to tokenise.
#[derive(Debug, Clone, PartialEq)]
pub enum Text {
    /// A text as it stands.
    Plain(String),
    /// Messages, as the model's template writes them.
    Conversation(Box<Call>),
}

/// Which text tokens are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detokenize {
    /// The model whose tokenizer is meant.
    pub model: String,
    /// The ids.
    pub tokens: Vec<u32>,
}

#[derive(Serialize)]
struct Tokenized<'a> {
    count: usize,
    max_model_len: u64,
    tokens: &'a [u32],
    #[serde(skip_serializing_if = "Option::is_none")]
    token_strs: Option<&'a [String]>,
}

#[derive(Serialize)]
struct Detokenized<'a> {
    prompt: &'a str,
}

/// Reads a body of `/tokenize`.
///
/// # Errors
/// Returns the first field that is missing or wrong.
pub fn read_tokenize(body: &[u8]) -> Result<Tokenize, ParseError> {
    check(body, Limits::default())?;
    let top = Object::read_document(body)?;
    let text = if top.has("messages") {
        Text::Conversation(Box::new(chat::read_call(body)?))
    } else {
        Text::Plain(top.required("prompt", read::string)?)
    };
    Ok(Tokenize {
        model: top.required("model", read_model)?,
        text,
        special: top.optional("add_special_tokens", read::boolean)?,
        wants_strings: top.optional("return_token_strs", read::boolean)?.unwrap_or(false),
    })
}

/// Reads a body of `/detokenize`.
///
/// # Errors
/// Returns the first field that is missing or wrong.
pub fn read_detokenize(body: &[u8]) -> Result<Detokenize, ParseError> {
    check(body, Limits::default())?;
    let top = Object::read_document(body)?;
    Ok(Detokenize {
        model: top.required("model", read_model)?,
        tokens: top.required("tokens", |raw| read::each(raw, read::count(0..=u32::MAX)))?,
    })
}

/// Returns the answer to `/tokenize` by a model whose longest sequence has `context` tokens.
pub fn write_tokenized(tokens: &[u32], strings: Option<&[String]>, context: u64) -> Bytes {
    to_json(&Tokenized { count: tokens.len(), max_model_len: context, tokens, token_strs: strings })
}

/// Returns the answer to `/detokenize`.
pub fn write_detokenized(text: &str) -> Bytes {
    to_json(&Detokenized { prompt: text })
}
