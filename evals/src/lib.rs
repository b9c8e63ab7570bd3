//! Asks a model the questions of a suite, scores the answers, and says how sure the result is.
//!
//! Talks HTTP and nothing else, so it judges any endpoint with a chat completions API: the gateway, a model
//! behind it, or somebody else's server. Three steps, each usable alone:
//!
//! ```text
//! suite::Suite --endpoint::Endpoint::ask--> Answer --score::Target::score--> Score --report::Report--> table, JSON
//! ```
//!
//! Deliberately absent: judges that are models themselves, repeated runs, the comparison of two models with a gate.
//! A failed call is neither right nor wrong: it is counted apart, because it says nothing about the model.

pub mod endpoint;
pub mod report;
pub mod run;
pub mod score;
pub mod statistics;
pub mod suite;
