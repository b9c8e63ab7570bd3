//! The form of GLM-4.5 and its successors, some of which leave out the line ends:
//!
//! ```text
//! <tool_call>get_weather
//! <arg_key>city</arg_key>
//! <arg_value>Paris</arg_value>
//! </tool_call>
//! ```
//! Source: the chat template that is published with the models.

use super::sections::{Markers, Sections};
use super::tagged::{NameEnd, TaggedCall, Tags};
use super::{CallReader, Tools};

pub(super) static MARKERS: Markers = Markers { open: "<tool_call>", call: None, close: "</tool_call>" };

static TAGS: Tags = Tags {
    name_end: NameEnd::BeforeTag,
    key: ("<arg_key>", "</arg_key>"),
    value: Some("<arg_value>"),
    value_end: &["</arg_value>"],
    on_lines: false,
    end: "</tool_call>",
    end_all: "</tool_call>",
};

pub(super) fn reader(tools: Tools) -> impl CallReader {
    Sections::new(&MARKERS, tools, || TaggedCall::new(&TAGS))
}
