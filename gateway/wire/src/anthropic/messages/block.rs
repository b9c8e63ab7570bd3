//! The blocks of a message as the API writes them, in requests and in whole answers.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::call::{CacheMark, ToolCall};

/// One block.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Written<'a> {
    Text {
        text: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    Image {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    Document {
        source: Source<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        title: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: &'a str,
        input: Box<RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        content: Vec<Written<'a>>,
        #[serde(skip_serializing_if = "is_false")]
        is_error: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    Thinking {
        thinking: &'a str,
        signature: Cow<'a, str>,
    },
    RedactedThinking {
        data: Cow<'a, str>,
    },
}

/// Where the bytes of a picture or document are.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Source<'a> {
    Base64 { media_type: &'a str, data: &'a str },
    Text { media_type: &'static str, data: String },
    Url { url: &'a str },
}

/// `cache_control`.
#[derive(Serialize)]
pub(super) struct CacheControl {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ttl: Option<&'static str>,
}

impl From<CacheMark> for CacheControl {
    fn from(mark: CacheMark) -> Self {
        let ttl = match mark {
            CacheMark::Default => None,
            CacheMark::OneHour => Some("1h"),
        };
        Self { kind: "ephemeral", ttl }
    }
}

/// Returns the arguments of a call as the JSON object that the dialect wants, digits as the model wrote them.
pub(super) fn input_of(call: &ToolCall) -> Box<RawValue> {
    raw(call.arguments_json())
}

/// Returns `json`, which is valid, unread.
pub(super) fn raw(json: String) -> Box<RawValue> {
    RawValue::from_string(json).expect("arguments have been made a JSON object")
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
