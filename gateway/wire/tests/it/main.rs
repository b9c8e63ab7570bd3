//! Tests of the wire formats through their public face, one module per question.

mod answers;
mod anthropic;
mod bedrock;
mod calls;
mod chat;
mod completions;
mod deltas;
mod embeddings;
mod errors;
mod eventstream;
mod facts;
mod forward;
mod gemini;
mod grammar;
mod json;
mod pairs;
mod reach;
mod request;
mod responses;
mod sse;
mod support;
mod tokens;
