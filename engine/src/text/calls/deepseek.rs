//! The forms of `DeepSeek`-V3 and R1, and of V3.1, which leaves out the kind of a call and the fence around its arguments:
//!
//! ```text
//! <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather
//! ```json
//! {"city": "Paris"}
//! ```<｜tool▁call▁end｜><｜tool▁calls▁end｜>
//!
//! <｜tool▁calls▁begin｜><｜tool▁call▁begin｜>get_weather<｜tool▁sep｜>{"city": "Paris"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>
//! ```
//! Which of them it is shows behind the separator. Source: the chat templates that are published with the models.

use super::fenced::{FencedCall, Fences};
use super::sections::{Markers, Sections};
use super::{CallReader, Tools};

pub(super) static MARKERS: Markers = Markers {
    open: "<｜tool▁calls▁begin｜>",
    call: Some("<｜tool▁call▁begin｜>"),
    close: "<｜tool▁calls▁end｜>",
};

pub(super) static FENCES: Fences = Fences {
    separator: "<｜tool▁sep｜>",
    end: "<｜tool▁call▁end｜>",
    end_all: "<｜tool▁calls▁end｜>",
    tool: |name| name,
};

pub(super) fn reader(tools: Tools) -> impl CallReader {
    Sections::new(&MARKERS, tools, || FencedCall::new(&FENCES))
}
