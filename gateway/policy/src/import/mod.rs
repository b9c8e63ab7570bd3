//! Configurations of other gateways, carried over into a policy file.
//!
//! What comes out is a draft for a person to read: what a configuration says is carried over as far as there is a
//! counterpart, and what is not is said, each with its place. Nothing is guessed that would let a call go further than
//! it went before, and no secret is copied. Deliberately absent: reading the environment, to which such files refer.

mod litellm;

pub use litellm::litellm;

use crate::diagnostic::Diagnostic;

/// A policy file made from another gateway's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    /// The text of the policy file, with the notes as comments.
    pub text: String,
    /// What has no counterpart, or one that somebody should look at, in the order of the configuration.
    pub notes: Vec<Diagnostic>,
}
