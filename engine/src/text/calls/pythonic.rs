//! Calls as Python writes them, which Llama 3.2 and 4 can be told to write: a reply that is a list of them.
//!
//! ```text
//! [get_weather(city="Paris", days=[1, 2]), clock()]
//! ```
//! Arguments become JSON as they are written ([`Literal`]). Since no mark tells a call from a text in brackets, only a list
//! that begins with a tool on offer is one. Source: the guides to prompts that are published with the models.

mod literal;

use super::llama::MARKERS;
use super::scan::{SPACE_BYTES_MAX, Scanner};
use super::{CallReader, Emissions, NAME_BYTES_MAX, Tools};
use literal::{Literal, Taken};

/// Reads a reply.
#[derive(Debug)]
pub(super) struct PythonicReader {
    tools: Tools,
    scanner: Scanner,
    state: State,
    /// What was read before a call and is text again if none follows.
    head: String,
}

#[derive(Debug)]
enum State {
    /// Where a list may begin.
    Start,
    /// The name of a call.
    Name(String),
    /// Before a keyword, or the end of the call.
    Key(String),
    Value(Literal),
    /// Behind a call.
    Between,
    /// Behind the list: white space is dropped.
    After,
    Text,
}

impl PythonicReader {
    pub(super) fn new(tools: Tools) -> Self {
        Self { tools, scanner: Scanner::default(), state: State::Start, head: String::new() }
    }

    fn take_text(&mut self, character: char, out: &mut Emissions) {
        self.state = State::Text;
        let found = self.scanner.take(character, &MARKERS, SPACE_BYTES_MAX, |text| out.text(text));
        if let Some(found) = found.filter(|found| found.marker < 2) {
            self.head = found.written;
            self.state = State::Start;
        }
    }

    /// Makes what was read text again.
    fn degrade(&mut self, written: &str, out: &mut Emissions) {
        let head = std::mem::take(&mut self.head);
        self.state = State::Text;
        if head.trim_ascii().is_empty() {
            // White space was held for a tag that may follow it.
            head.chars().for_each(|held| self.take_text(held, out));
        } else {
            out.text(&head);
        }
        for character in written.chars() {
            self.take_text(character, out);
        }
    }

    fn take_name(&mut self, mut name: String, character: char, out: &mut Emissions) {
        let is_first = name.trim_ascii().is_empty();
        if character == '(' && self.tools.iter().any(|tool| tool.name == name.trim_ascii()) {
            self.head.clear();
            out.begin(name.trim_ascii().to_owned());
            out.arguments("{");
            self.state = State::Key(String::new());
        } else if (is_first && character.is_ascii_whitespace())
            || character.is_alphanumeric()
            || "_-.".contains(character)
        {
            name.push(character);
            if name.len() > NAME_BYTES_MAX {
                self.degrade(&name, out);
            } else {
                self.state = State::Name(name);
            }
        } else {
            self.degrade(&name, out);
            self.take_text(character, out);
        }
    }

    /// Between the arguments of a call. What is none of them ends it, as it is.
    fn take_key(&mut self, mut key: String, character: char, out: &mut Emissions) {
        match character {
            ')' if key.is_empty() => {
                out.arguments("}");
                out.end();
                self.state = State::Between;
            }
            '=' if !key.is_empty() => {
                out.arguments(&serde_json::Value::from(key).to_string());
                out.arguments(": ");
                self.state = State::Value(Literal::default());
            }
            _ if character.is_ascii_whitespace() => self.state = State::Key(key),
            _ if character.is_alphanumeric() || "_-".contains(character) => {
                key.push(character);
                self.state = State::Key(key);
            }
            _ => {
                out.end();
                out.text(&key);
                self.take_text(character, out);
            }
        }
    }

    fn take_value(&mut self, mut literal: Literal, character: char, out: &mut Emissions) {
        match literal.take(character, out) {
            Taken::More => self.state = State::Value(literal),
            Taken::Next => {
                out.arguments(", ");
                self.state = State::Key(String::new());
            }
            Taken::End => {
                out.arguments("}");
                out.end();
                self.state = State::Between;
            }
        }
    }
}

impl CallReader for PythonicReader {
    fn take(&mut self, character: char, out: &mut Emissions) {
        let is_space = character.is_ascii_whitespace();
        match std::mem::replace(&mut self.state, State::Text) {
            State::Start if is_space && self.head.len() < SPACE_BYTES_MAX => {
                self.head.push(character);
                self.state = State::Start;
            }
            State::Start if character == '[' => {
                self.head.push(character);
                self.state = State::Name(String::new());
            }
            State::Start => {
                self.degrade("", out);
                self.take_text(character, out);
            }
            State::Name(name) => self.take_name(name, character, out),
            State::Key(key) => self.take_key(key, character, out),
            State::Value(literal) => self.take_value(literal, character, out),
            State::Between if is_space => self.state = State::Between,
            State::Between if character == ',' => self.state = State::Name(String::new()),
            State::Between if character == ']' => self.state = State::After,
            State::After if is_space => self.state = State::After,
            State::Between | State::After | State::Text => self.take_text(character, out),
        }
    }

    fn finish(&mut self, out: &mut Emissions) {
        match std::mem::replace(&mut self.state, State::Text) {
            State::Start => self.degrade("", out),
            State::Name(name) => self.degrade(&name, out),
            State::Key(_) => out.end(),
            State::Value(mut literal) => {
                literal.finish(out);
                out.end();
            }
            State::Between | State::After | State::Text => {}
        }
        out.text(&self.scanner.release());
    }
}
