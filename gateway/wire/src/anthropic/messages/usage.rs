//! Token counts in the shape of the API, both ways.
//!
//! The API counts the prompt in three parts that exclude each other: read from the cache, written to it, and neither.
//! Reading is tolerant, and never turns an absent count into zero.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::Usage;

/// What a stream or an answer has said so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Counts {
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    output_tokens_details: Option<Details>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
struct Details {
    thinking_tokens: Option<u64>,
}

impl Counts {
    /// Takes over a later report: counts are cumulative, so what it states replaces what was said before.
    pub(super) fn update(&mut self, raw: &RawValue) {
        let Ok(later) = serde_json::from_str::<Self>(raw.get()) else { return };
        // Some servers close with zeros for a prompt that they have counted at the beginning.
        if later.prompt_tokens() != Some(0) || self.prompt_tokens().is_none() {
            self.input_tokens = later.input_tokens.or(self.input_tokens);
            self.cache_creation_input_tokens =
                later.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
            self.cache_read_input_tokens = later.cache_read_input_tokens.or(self.cache_read_input_tokens);
        }
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        self.output_tokens_details = later.output_tokens_details.or(self.output_tokens_details);
    }

    /// Returns what has been consumed, once prompt and answer are both counted.
    pub(super) fn usage(&self) -> Option<Usage> {
        Some(Usage {
            prompt_tokens: self.prompt_tokens()?,
            completion_tokens: self.output_tokens?,
            cached_tokens: self.cache_read_input_tokens,
            cache_write_tokens: self.cache_creation_input_tokens,
            reasoning_tokens: self.output_tokens_details.and_then(|details| details.thinking_tokens),
        })
    }

    /// Returns what the prompt takes, if anybody has counted: no prompt has no tokens.
    pub(super) fn usage_at_the_beginning(&self) -> Option<Usage> {
        self.usage().filter(|usage| usage.prompt_tokens > 0)
    }

    fn prompt_tokens(&self) -> Option<u64> {
        let cached = [self.cache_creation_input_tokens, self.cache_read_input_tokens];
        let cached = cached.into_iter().flatten().fold(0, u64::saturating_add);
        Some(self.input_tokens?.saturating_add(cached))
    }
}

/// The `usage` member as it is written to a client.
///
/// Parts that nobody counted are null, which both official clients take for "not known"; in the arithmetic of
/// JavaScript, an absent one would make every sum not a number.
#[derive(Serialize)]
pub(super) struct UsageBody {
    input_tokens: u64,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<Details>,
}

impl UsageBody {
    /// Creates the member from what is known.
    ///
    /// `input_tokens` and `output_tokens` are zero where nobody counted: clients of typed languages refuse a whole
    /// answer for the want of these two integers. The gateway's own records keep the difference.
    pub(super) fn of(usage: Option<&Usage>) -> Self {
        let Some(usage) = usage else {
            return Self {
                input_tokens: 0,
                cache_creation_input_tokens: None,
                cache_read_input_tokens: None,
                output_tokens: 0,
                output_tokens_details: None,
            };
        };
        let cached = [usage.cached_tokens, usage.cache_write_tokens];
        let cached = cached.into_iter().flatten().fold(0, u64::saturating_add);
        let thinking = usage.reasoning_tokens;
        Self {
            input_tokens: usage.prompt_tokens.saturating_sub(cached),
            cache_creation_input_tokens: usage.cache_write_tokens,
            cache_read_input_tokens: usage.cached_tokens,
            output_tokens: usage.completion_tokens,
            output_tokens_details: thinking.map(|tokens| Details { thinking_tokens: Some(tokens) }),
        }
    }
}
