//! The JSON form of Llama 3 and 4: a reply that is an object, or several with `;` or `,` between them, in the order in
//! which they are to be called. A token may stand before them:
//!
//! ```text
//! {"name": "get_weather", "parameters": {"city": "Paris"}}
//! <|python_tag|>{"name": "clock", "parameters": {}}; {"name": "clock", "parameters": {"zone": "UTC"}}
//! ```
//! Since no mark tells a call from an answer in JSON, only an object with the name of a tool on offer is a call, and only
//! where a reply, or what follows the token, begins with it. Source: the chat templates and the guide to prompts that are
//! published with the models.

use super::object::ObjectReader;
use super::scan::{SPACE_BYTES_MAX, Scanner};
use super::{CallReader, Emissions, Step, Tools};

const TAG: &str = "<|python_tag|>";
const START: &str = "<|python_start|>";
const END: &str = "<|python_end|>";

pub(super) static MARKERS: [&str; 3] = [TAG, START, END];

/// Reads a reply.
#[derive(Debug)]
pub(super) struct LlamaReader {
    tools: Tools,
    scanner: Scanner,
    state: State,
    /// What was read before a call and is text again if none follows.
    head: String,
}

#[derive(Debug)]
enum State {
    /// Where a call may begin.
    Start,
    Object(ObjectReader),
    /// Between calls, where separators and white space are dropped.
    Between,
    Text,
}

impl LlamaReader {
    pub(super) fn new(tools: Tools) -> Self {
        Self { tools, scanner: Scanner::default(), state: State::Start, head: String::new() }
    }

    fn take_text(&mut self, character: char, out: &mut Emissions) {
        self.state = State::Text;
        let found = self.scanner.take(character, &MARKERS, SPACE_BYTES_MAX, |text| out.text(text));
        match found {
            // It says that a call is over, and calls are dropped.
            Some(found) if found.marker == 2 => {}
            Some(found) => {
                self.head = found.written;
                self.state = State::Start;
            }
            None => {}
        }
    }

    /// Makes what was read text again.
    fn degrade(&mut self, written: &str, out: &mut Emissions) {
        out.text(&std::mem::take(&mut self.head));
        out.text(written);
        self.state = State::Text;
    }

    fn take_object(&mut self, mut object: ObjectReader, character: char, out: &mut Emissions) {
        let known = |name: &str| self.tools.iter().any(|tool| tool.name == name);
        match object.take(character, known, out) {
            Step::Broken(written, _) => self.degrade(&written, out),
            Step::More => self.state = State::Object(object),
            Step::End | Step::EndAll => {
                self.head.clear();
                self.state = State::Between;
            }
        }
    }
}

impl CallReader for LlamaReader {
    fn take(&mut self, character: char, out: &mut Emissions) {
        match std::mem::replace(&mut self.state, State::Text) {
            State::Start | State::Between if character == '{' => {
                self.take_object(ObjectReader::default(), character, out);
            }
            State::Start if character.is_ascii_whitespace() && self.head.len() < SPACE_BYTES_MAX => {
                self.head.push(character);
                self.state = State::Start;
            }
            State::Start => {
                // White space was held for a tag that may follow it.
                let head = std::mem::take(&mut self.head);
                if head.trim_ascii().is_empty() {
                    head.chars().for_each(|held| self.take_text(held, out));
                } else {
                    out.text(&head);
                }
                self.take_text(character, out);
            }
            State::Between if character.is_ascii_whitespace() || character == ';' || character == ',' => {
                self.state = State::Between;
            }
            State::Text | State::Between => self.take_text(character, out),
            State::Object(object) => self.take_object(object, character, out),
        }
    }

    fn finish(&mut self, out: &mut Emissions) {
        match std::mem::replace(&mut self.state, State::Text) {
            State::Start => self.degrade("", out),
            State::Text | State::Between => out.text(&self.scanner.release()),
            State::Object(mut object) => {
                if let Some(written) = object.finish(out) {
                    self.degrade(&written, out);
                }
            }
        }
    }
}
