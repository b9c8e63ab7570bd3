//! The Gemini API and Vertex AI, as Google describes them.

mod answers;
mod requests;
mod streams;
