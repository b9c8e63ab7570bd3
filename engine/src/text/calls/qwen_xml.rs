//! The XML form of Qwen3-Coder and its successors:
//!
//! ```text
//! <tool_call>
//! <function=get_weather>
//! <parameter=city>
//! Paris
//! </parameter>
//! </function>
//! </tool_call>
//! ```
//! A value stands on lines of its own. Models leave out the outer tag now and then, so it need not be there. Source: the
//! chat template that is published with the models.

use super::sections::{Markers, Sections};
use super::tagged::{NameEnd, TaggedCall, Tags};
use super::{CallReader, Tools};

pub(super) static MARKERS: Markers =
    Markers { open: "<tool_call>", call: Some("<function="), close: "</tool_call>" };

static TAGS: Tags = Tags {
    name_end: NameEnd::At(">"),
    key: ("<parameter=", ">"),
    value: None,
    value_end: &["\n</parameter>", "</parameter>"],
    on_lines: true,
    end: "</function>",
    end_all: "</tool_call>",
};

pub(super) fn reader(tools: Tools) -> impl CallReader {
    Sections::new(&MARKERS, tools, || TaggedCall::new(&TAGS))
}
