//! The forms of Mistral: a list of objects up to the third version of its tokenizer, then a marker for each call, with or
//! without an id of its own:
//!
//! ```text
//! [TOOL_CALLS] [{"name": "get_weather", "arguments": {"city": "Paris"}}]
//! [TOOL_CALLS]get_weather[ARGS]{"city": "Paris"}[TOOL_CALLS]clock[CALL_ID]a1b2c3d4e[ARGS]{}
//! ```
//! Source: the chat templates that are published with the models.

use super::object::{Nesting, ObjectReader};
use super::scan::{SPACE_BYTES_MAX, Scanner};
use super::{CallReader, Emissions, NAME_BYTES_MAX, Step, is_tool_name};

const OPEN: &str = "[TOOL_CALLS]";
const ARGUMENTS: &str = "[ARGS]";
const ID: &str = "[CALL_ID]";

pub(super) static MARKERS: [&str; 3] = [OPEN, ARGUMENTS, ID];

/// Reads a reply.
#[derive(Debug, Default)]
pub(super) struct MistralReader {
    scanner: Scanner,
    state: State,
    /// What was read since the marker and is text again if no call follows.
    head: String,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Text,
    /// Behind the marker.
    Opened,
    /// In a list of objects, between them.
    List,
    Object(ObjectReader),
    /// The name, and what may follow it before the arguments.
    Name(String),
    /// Before the arguments.
    Gap,
    Arguments(Nesting),
    /// Behind calls: white space is dropped.
    After,
}

impl MistralReader {
    fn take_text(&mut self, character: char, out: &mut Emissions) {
        let found = self.scanner.take(character, &[OPEN], SPACE_BYTES_MAX, |text| out.text(text));
        if let Some(found) = found {
            self.head = found.written;
            self.state = State::Opened;
        }
    }

    /// Makes what was read text again.
    fn degrade(&mut self, written: &str, out: &mut Emissions) {
        out.text(&std::mem::take(&mut self.head));
        out.text(written);
        self.state = State::Text;
    }

    fn take_name(&mut self, mut name: String, character: char, out: &mut Emissions) {
        name.push(character);
        let (before, is_object) = match (name.strip_suffix(ARGUMENTS), name.strip_suffix('{')) {
            (Some(before), _) => (before, false),
            (None, Some(before)) => (before, true),
            (None, None) if name.len() > NAME_BYTES_MAX || character == '\n' => {
                return self.degrade(&name, out);
            }
            (None, None) => {
                self.state = State::Name(name);
                return;
            }
        };
        let tool = before.split_once(ID).map_or(before, |(tool, _)| tool).trim_ascii();
        if tool.is_empty() || !is_tool_name(tool) {
            return self.degrade(&name, out);
        }
        out.begin(tool.to_owned());
        self.head.clear();
        self.state = State::Gap;
        if is_object {
            self.take('{', out);
        }
    }

    fn take_object(&mut self, mut object: ObjectReader, character: char, out: &mut Emissions) {
        match object.take(character, |_| true, out) {
            Step::Broken(written, _) => self.degrade(&written, out),
            Step::More => self.state = State::Object(object),
            Step::End | Step::EndAll => {
                self.head.clear();
                self.state = State::List;
            }
        }
    }
}

impl CallReader for MistralReader {
    fn take(&mut self, character: char, out: &mut Emissions) {
        let is_space = character.is_ascii_whitespace();
        match std::mem::take(&mut self.state) {
            State::Opened if is_space || character == '[' => {
                self.head.push(character);
                self.state = if is_space { State::Opened } else { State::List };
            }
            State::Opened if character == '{' => {
                self.take_object(ObjectReader::default(), character, out);
            }
            State::Opened => self.take_name(String::new(), character, out),
            State::List if is_space || character == ',' => self.state = State::List,
            State::List if character == '{' => self.take_object(ObjectReader::default(), character, out),
            State::List if character == ']' && self.head.is_empty() => self.state = State::After,
            State::List => {
                self.degrade("", out);
                self.take_text(character, out);
            }
            State::Object(object) => self.take_object(object, character, out),
            State::Name(name) => self.take_name(name, character, out),
            State::Gap if is_space => self.state = State::Gap,
            State::Gap if character == '{' => {
                let mut nesting = Nesting::default();
                nesting.take(character);
                out.argument(character);
                self.state = State::Arguments(nesting);
            }
            State::Gap => {
                out.arguments("{}");
                out.end();
                self.take_text(character, out);
            }
            State::Arguments(mut nesting) => {
                out.argument(character);
                self.state = if nesting.take(character) > 0 {
                    State::Arguments(nesting)
                } else {
                    out.end();
                    State::After
                };
            }
            State::After if is_space => self.state = State::After,
            State::Text | State::After => self.take_text(character, out),
        }
    }

    fn finish(&mut self, out: &mut Emissions) {
        match std::mem::take(&mut self.state) {
            State::Text | State::After => out.text(&self.scanner.release()),
            State::Opened | State::List => self.degrade("", out),
            State::Name(name) => self.degrade(&name, out),
            State::Object(mut object) => {
                if let Some(written) = object.finish(out) {
                    self.degrade(&written, out);
                }
            }
            State::Gap | State::Arguments(_) => out.end(),
        }
    }
}
