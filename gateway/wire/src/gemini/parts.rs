//! An answer of the API, whole or a piece of one, as it is written; and what its words mean.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::fault::Status;
use crate::Usage;
use crate::reply::FinishReason;

/// A `GenerateContentResponse`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Response<'a> {
    #[serde(borrow, default)]
    pub(super) candidates: Vec<Candidate<'a>>,
    pub(super) prompt_feedback: Option<Feedback>,
    pub(super) usage_metadata: Option<Counts>,
    #[serde(rename = "responseId")]
    pub(super) id: Option<String>,
    pub(super) error: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Candidate<'a> {
    #[serde(borrow)]
    pub(super) content: Option<Content<'a>>,
    pub(super) finish_reason: Option<String>,
    #[serde(default)]
    pub(super) index: u32,
}

#[derive(Deserialize)]
pub(super) struct Content<'a> {
    #[serde(borrow, default)]
    pub(super) parts: Vec<Part<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part<'a> {
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) thought: bool,
    pub(super) thought_signature: Option<String>,
    #[serde(borrow)]
    pub(super) function_call: Option<Call<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Call<'a> {
    pub(super) id: Option<String>,
    pub(super) name: String,
    #[serde(borrow)]
    pub(super) args: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Feedback {
    pub(super) block_reason: Option<String>,
}

/// The tokens so far. Those of the cache are part of the prompt; a count of zero is not written.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Counts {
    #[serde(rename = "promptTokenCount")]
    prompt: Option<u64>,
    #[serde(rename = "candidatesTokenCount")]
    candidates: Option<u64>,
    #[serde(rename = "thoughtsTokenCount")]
    thoughts: Option<u64>,
    #[serde(rename = "toolUsePromptTokenCount")]
    tool_results: Option<u64>,
    #[serde(rename = "cachedContentTokenCount")]
    cached: Option<u64>,
}

impl Counts {
    /// Nothing, if not even the prompt was counted.
    pub(super) fn usage(self) -> Option<Usage> {
        let prompt = self.prompt?.saturating_add(self.tool_results.unwrap_or(0));
        let thoughts = self.thoughts.unwrap_or(0);
        Some(Usage {
            cached_tokens: self.cached,
            reasoning_tokens: self.thoughts,
            ..Usage::of(prompt, self.candidates.unwrap_or(0).saturating_add(thoughts))
        })
    }
}

/// Reads a `finishReason`; nothing for the word that says that there is none.
pub(super) fn finish_reason(word: &str) -> Option<FinishReason> {
    Some(match word {
        "FINISH_REASON_UNSPECIFIED" => return None,
        "STOP" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => FinishReason::ContentFilter,
        "CONTINUATION" => FinishReason::Paused,
        // MALFORMED_FUNCTION_CALL, UNEXPECTED_TOOL_CALL and their kin: the model failed.
        _ => FinishReason::Other,
    })
}

impl Call<'_> {
    /// Returns the arguments as JSON text.
    pub(super) fn arguments(&self) -> &str {
        self.args.map_or("{}", |args| if args.get() == "null" { "{}" } else { args.get() })
    }

    /// Returns the call's id, or one that is made of what the answer says, so that the same answer gives the same id.
    pub(super) fn id_or(&self, index: usize, response_id: Option<&str>) -> String {
        if let Some(id) = self.id.as_ref().filter(|id| !id.is_empty()) {
            return id.clone();
        }
        let unique = match response_id.filter(|id| !id.is_empty()) {
            Some(id) => id
                .chars()
                .filter(|character| character.is_ascii_alphanumeric() || "_-".contains(*character))
                .collect(),
            None => {
                format!("{:08x}", crc32fast::hash(format!("{}{}", self.name, self.arguments()).as_bytes()))
            }
        };
        format!("call_{index}_{unique}")
    }
}
