//! The form of Kimi-K2, whose calls have an id of their own with the tool's name in it:
//!
//! ```text
//! <|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{"city": "Paris"}<|tool_call_end|><|tool_calls_section_end|>
//! ```
//! Source: the guide to tool calls that is published with the model.

use super::fenced::{FencedCall, Fences};
use super::sections::{Markers, Sections};
use super::{CallReader, Tools};

pub(super) static MARKERS: Markers = Markers {
    open: "<|tool_calls_section_begin|>",
    call: Some("<|tool_call_begin|>"),
    close: "<|tool_calls_section_end|>",
};

pub(super) static FENCES: Fences = Fences {
    separator: "<|tool_call_argument_begin|>",
    end: "<|tool_call_end|>",
    end_all: "<|tool_calls_section_end|>",
    tool,
};

/// The name in `functions.NAME:INDEX`.
fn tool(id: &str) -> &str {
    let name = id.strip_prefix("functions.").unwrap_or(id);
    match name.rsplit_once(':') {
        Some((name, index)) if index.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => name,
    }
}

pub(super) fn reader(tools: Tools) -> impl CallReader {
    Sections::new(&MARKERS, tools, || FencedCall::new(&FENCES))
}
