//! `batchEmbedContents` of the Gemini API: vectors of texts. Vertex AI has other paths for them, which are not spoken.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::count::resource;
use super::request::to_bytes;
use crate::reply::Unreadable;

/// Writes the texts for `batchEmbedContents`; `dimensions` is the width of the vectors, where the model has a choice.
pub fn write_embeddings(texts: &[String], dimensions: Option<u32>, model: &str) -> Bytes {
    let model = resource(model);
    let request = |text: &String| {
        let mut request = Map::new();
        request.insert("model".to_owned(), json!(model));
        request.insert("content".to_owned(), json!({ "parts": [{ "text": text }] }));
        request.extend(dimensions.map(|width| ("outputDimensionality".to_owned(), json!(width))));
        Value::Object(request)
    };
    to_bytes(&json!({ "requests": texts.iter().map(request).collect::<Vec<_>>() }))
}

/// Reads the vectors, in the order of the texts.
///
/// # Errors
/// Returns that the body is no such answer.
pub fn read_embeddings(body: &[u8]) -> Result<Vec<Vec<f32>>, Unreadable> {
    #[derive(Deserialize)]
    struct Answer {
        embeddings: Vec<Embedding>,
    }
    #[derive(Deserialize)]
    struct Embedding {
        values: Vec<f32>,
    }
    let answer: Answer = serde_json::from_slice(body)
        .map_err(|_| Unreadable::Malformed("it is no answer of batchEmbedContents"))?;
    Ok(answer.embeddings.into_iter().map(|embedding| embedding.values).collect())
}
