//! The Converse API of Bedrock, as AWS describes it.

mod answers;
mod requests;
mod streams;
