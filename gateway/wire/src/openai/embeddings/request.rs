//! The body of `POST /v1/embeddings`.
//!
//! As for chat: a typed view of what is used, beside the bytes as they came. `truncate_prompt_tokens` is not the
//! API's own; open servers have it, and without it no client could say that half a text is better than an error.

use std::fmt;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::forward::{AskUsage, Splices};
use crate::json::read::{self, Object};
use crate::json::{Limits, check};
use crate::reach::find;
use crate::request::read_model;
use crate::{Dialect, Indirect, ParseError};

/// Most texts in one request, as the API itself has it.
const INPUTS_MAX: usize = 2048;
/// Widest vector that can be asked for, in numbers.
const DIMENSIONS_MAX: i64 = 1 << 20;

/// One request, read and checked.
#[derive(Clone, PartialEq)]
pub struct Request {
    /// The model that the caller named, not empty; policy decides what it means.
    pub model: String,
    /// The texts, at least one, none empty.
    pub input: Input,
    /// How vectors are to be written.
    pub encoding: Encoding,
    /// The width of the vectors, at least 1; absent is the model's own.
    pub dimensions: Option<u32>,
    /// What becomes of texts that are too long.
    pub truncation: Truncation,
    /// The end user on whose behalf the caller acts.
    pub user: Option<String>,
    fields: Vec<String>,
    body: Bytes,
    splices: Splices,
}

/// Texts, or what a tokenizer made of them.
#[derive(Clone, PartialEq, Eq)]
pub enum Input {
    /// As people write them.
    Texts(Vec<String>),
    /// As ids of the model's tokens.
    Tokens(Vec<Vec<u32>>),
}

/// How vectors are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As lists of numbers.
    Float,
    /// As base64 of their f32 values, little endian.
    Base64,
}

/// What becomes of a text that is longer than the model takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truncation {
    /// An error: nothing was said.
    Refuse,
    /// Its beginning is used, as much as the model takes.
    ToModel,
    /// The beginning of each text is used, at most so many tokens, at least 1.
    To(u32),
}

/// Shows the shape only: requests end up in log lines by accident, and texts must not.
impl fmt::Debug for Request {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Request")
            .field("model", &self.model)
            .field("input", &self.input)
            .field("fields", &self.fields)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Input {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Texts(texts) => write!(formatter, "Texts({})", texts.len()),
            Self::Tokens(texts) => write!(formatter, "Tokens({})", texts.len()),
        }
    }
}

impl Request {
    /// Reads a request body.
    ///
    /// # Errors
    /// Returns the first fault: malformed JSON, duplicate keys and excessive nesting anywhere in the body, and
    /// missing or wrong values in the fields that this type names.
    pub fn parse(body: Bytes) -> Result<Self, ParseError> {
        check(&body, Limits::default())?;
        let top = Object::read_document(&body)?;
        Ok(Self {
            model: top.required("model", read_model)?,
            input: top.required("input", read_input)?,
            encoding: top.optional("encoding_format", read_encoding)?.unwrap_or(Encoding::Float),
            dimensions: top.optional("dimensions", read_dimensions)?,
            truncation: top
                .optional("truncate_prompt_tokens", read_truncation)?
                .unwrap_or(Truncation::Refuse),
            user: top.optional("user", read::string)?,
            fields: top.names().map(str::to_owned).collect(),
            splices: Splices::find(&body, &top, None)?,
            body,
        })
    }

    /// Returns the names of all top-level fields that were present, in order.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(String::as_str)
    }

    /// Returns the first of each kind of thing that makes others act, in the order in which they were met. Reads the
    /// whole request for it.
    pub fn indirect(&self) -> Vec<Indirect> {
        find(Dialect::OpenAiEmbeddings, &self.body)
    }

    /// Returns the size of the body as it came.
    pub fn body_bytes(&self) -> usize {
        self.body.len()
    }

    /// Returns the body to send to an upstream that calls the model `upstream_model`: the caller's bytes with the
    /// value of `model` replaced.
    pub fn forward_body(&self, upstream_model: &str) -> Bytes {
        self.splices.apply(&self.body, upstream_model, AskUsage::AsCaller)
    }
}

const INPUT: &str = "a string, a list of strings, a list of token ids, or a list of such lists";

/// The first element of a list says what the others have to be.
fn read_input(raw: &RawValue) -> Result<Input, ParseError> {
    match read::type_name(raw) {
        "a string" => Ok(Input::Texts(vec![read::non_empty_string(raw)?])),
        "a list" => {
            let elements = read::each(raw, Ok)?;
            match elements.first().map(|first| read::type_name(first)) {
                None => Err(ParseError::bad_value("must not be empty")),
                Some("a string") => Ok(Input::Texts(bounded(read::each(raw, read::non_empty_string)?)?)),
                Some("a number") => Ok(Input::Tokens(vec![read_tokens(raw)?])),
                Some("a list") => Ok(Input::Tokens(bounded(read::each(raw, read_tokens)?)?)),
                Some(other) => Err(ParseError::wrong_type(INPUT, &format!("a list with {other}"))),
            }
        }
        other => Err(ParseError::wrong_type(INPUT, other)),
    }
}

fn bounded<T>(inputs: Vec<T>) -> Result<Vec<T>, ParseError> {
    if inputs.len() > INPUTS_MAX {
        let reason =
            format!("has {} texts, and a request takes {INPUTS_MAX}; send several requests", inputs.len());
        return Err(ParseError::bad_value(reason));
    }
    Ok(inputs)
}

fn read_tokens(raw: &RawValue) -> Result<Vec<u32>, ParseError> {
    let token = |raw: &RawValue| {
        let id = read::integer(0..=i64::from(u32::MAX))(raw)?;
        Ok(u32::try_from(id).expect("the range was checked"))
    };
    let tokens = read::each(raw, token)?;
    if tokens.is_empty() { Err(ParseError::bad_value("must not be empty")) } else { Ok(tokens) }
}

fn read_encoding(raw: &RawValue) -> Result<Encoding, ParseError> {
    match read::string(raw)?.as_str() {
        "float" => Ok(Encoding::Float),
        "base64" => Ok(Encoding::Base64),
        _ => Err(ParseError::bad_value("must be `float` or `base64`")),
    }
}

fn read_dimensions(raw: &RawValue) -> Result<u32, ParseError> {
    let width = read::integer(1..=DIMENSIONS_MAX)(raw)?;
    Ok(u32::try_from(width).expect("the range was checked"))
}

fn read_truncation(raw: &RawValue) -> Result<Truncation, ParseError> {
    match read::integer(-1..=i64::from(u32::MAX))(raw)? {
        -1 => Ok(Truncation::ToModel),
        0 => Err(ParseError::bad_value("must be -1, for as many tokens as the model takes, or at least 1")),
        tokens => Ok(Truncation::To(u32::try_from(tokens).expect("the range was checked"))),
    }
}
