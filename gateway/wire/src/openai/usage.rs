//! Token counts in the shape of the `OpenAI` API, both ways.
//!
//! Reading is tolerant: an upstream that reports half of it, or in a foreign type, reported
//! nothing. It never turns an absent count into zero.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::Usage;
use crate::json::read::{self, Object};

/// The `usage` member as it is written to a client.
#[derive(Serialize)]
pub(crate) struct UsageBody {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<CompletionDetails>,
}

#[derive(Serialize)]
struct PromptDetails {
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
}

impl From<&Usage> for UsageBody {
    fn from(usage: &Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.total_tokens(),
            prompt_tokens_details: prompt_details(usage),
            completion_tokens_details: usage
                .reasoning_tokens
                .map(|reasoning_tokens| CompletionDetails { reasoning_tokens }),
        }
    }
}

fn prompt_details(usage: &Usage) -> Option<PromptDetails> {
    let Usage { cached_tokens, cache_write_tokens, .. } = *usage;
    (cached_tokens.is_some() || cache_write_tokens.is_some())
        .then_some(PromptDetails { cached_tokens, cache_write_tokens })
}

/// Reads a `usage` member; nothing unless both main counts are there.
pub(crate) fn read_usage(raw: &RawValue) -> Option<Usage> {
    let usage = Object::read(raw).ok()?;
    Some(Usage {
        prompt_tokens: count(&usage, "prompt_tokens")?,
        completion_tokens: count(&usage, "completion_tokens")?,
        // DeepSeek counts them in a member of its own.
        cached_tokens: detail(&usage, "prompt_tokens_details", "cached_tokens")
            .or_else(|| count(&usage, "prompt_cache_hit_tokens")),
        cache_write_tokens: detail(&usage, "prompt_tokens_details", "cache_write_tokens"),
        reasoning_tokens: detail(&usage, "completion_tokens_details", "reasoning_tokens"),
    })
}

/// Reads a `usage` member of an endpoint whose answers are no tokens.
pub(crate) fn read_prompt_usage(raw: &RawValue) -> Option<Usage> {
    let prompt_tokens = count(&Object::read(raw).ok()?, "prompt_tokens")?;
    Some(Usage::of(prompt_tokens, 0))
}

fn detail(usage: &Object<'_>, details: &str, name: &str) -> Option<u64> {
    count(&Object::read(usage.written(details)?).ok()?, name)
}

fn count(object: &Object<'_>, name: &str) -> Option<u64> {
    let count = object.optional(name, read::integer(0..=i64::MAX)).ok()??;
    u64::try_from(count).ok()
}
