//! Token counts of one call, independent of the dialect that reported them.

/// What one call consumed, in tokens.
///
/// An optional count that nobody reported stays absent: zero would claim a measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, those read from a cache and those written to one included.
    pub prompt_tokens: u64,
    /// Tokens of the answer, reasoning included.
    pub completion_tokens: u64,
    /// Prompt tokens that were read from a prefix cache.
    pub cached_tokens: Option<u64>,
    /// Prompt tokens that were written to a prefix cache, where a provider charges for that.
    pub cache_write_tokens: Option<u64>,
    /// Answer tokens spent on reasoning.
    pub reasoning_tokens: Option<u64>,
}

impl Usage {
    /// Creates the usage of a call of which nothing else is known.
    pub fn of(prompt_tokens: u64, completion_tokens: u64) -> Self {
        Self {
            prompt_tokens,
            completion_tokens,
            cached_tokens: None,
            cache_write_tokens: None,
            reasoning_tokens: None,
        }
    }

    /// Prompt and answer tokens together.
    pub fn total_tokens(&self) -> u64 {
        // Upstreams choose these numbers: a liar must not be able to overflow the sum.
        self.prompt_tokens.saturating_add(self.completion_tokens)
    }
}
