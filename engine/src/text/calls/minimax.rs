//! The form of `MiniMax`-M2:
//!
//! ```text
//! <minimax:tool_call>
//! <invoke name="get_weather">
//! <parameter name="city">Paris</parameter>
//! </invoke>
//! </minimax:tool_call>
//! ```
//! Source: the chat template that is published with the model.

use super::sections::{Markers, Sections};
use super::tagged::{NameEnd, TaggedCall, Tags};
use super::{CallReader, Tools};

pub(super) static MARKERS: Markers =
    Markers { open: "<minimax:tool_call>", call: Some("<invoke name=\""), close: "</minimax:tool_call>" };

static TAGS: Tags = Tags {
    name_end: NameEnd::At("\">"),
    key: ("<parameter name=\"", "\">"),
    value: None,
    value_end: &["</parameter>"],
    on_lines: false,
    end: "</invoke>",
    end_all: "</minimax:tool_call>",
};

pub(super) fn reader(tools: Tools) -> impl CallReader {
    Sections::new(&MARKERS, tools, || TaggedCall::new(&TAGS))
}
