//! The answer of the local engine to a request for embeddings, and the usage of an upstream's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Serialize;

use super::request::Encoding;
use crate::Usage;
use crate::json::read::Object;
use crate::openai::error::to_json;
use crate::openai::usage::read_prompt_usage;

/// The vectors of one request, in the order of its texts.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The model that made them.
    pub model: String,
    /// `[texts, dimensions]`, all finite.
    pub vectors: Vec<Vec<f32>>,
    /// How they are written.
    pub encoding: Encoding,
    /// Tokens of all texts.
    pub prompt_tokens: u64,
}

#[derive(Serialize)]
struct Body<'a> {
    object: &'static str,
    data: Vec<Entry<'a>>,
    model: &'a str,
    usage: UsageBody,
}

#[derive(Serialize)]
struct Entry<'a> {
    object: &'static str,
    index: usize,
    embedding: Written<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Written<'a> {
    Float(&'a [f32]),
    Base64(String),
}

#[derive(Serialize)]
struct UsageBody {
    prompt_tokens: u64,
    total_tokens: u64,
}

impl Answer {
    /// Returns the body of the HTTP response.
    pub fn to_json(&self) -> Bytes {
        to_json(&Body {
            object: "list",
            data: self
                .vectors
                .iter()
                .enumerate()
                .map(|numbered| Entry::of(numbered, self.encoding))
                .collect(),
            model: &self.model,
            usage: UsageBody { prompt_tokens: self.prompt_tokens, total_tokens: self.prompt_tokens },
        })
    }
}

impl<'a> Entry<'a> {
    fn of((index, vector): (usize, &'a Vec<f32>), encoding: Encoding) -> Self {
        let embedding = match encoding {
            Encoding::Float => Written::Float(vector),
            Encoding::Base64 => Written::Base64(to_base64(vector)),
        };
        Self { object: "embedding", index, embedding }
    }
}

fn to_base64(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
    STANDARD.encode(bytes)
}

/// Returns the tokens that an upstream says it counted; nothing if it says nothing that can be read.
pub fn usage_of(body: &[u8]) -> Option<Usage> {
    Object::read_document(body).ok()?.written("usage").and_then(read_prompt_usage)
}
