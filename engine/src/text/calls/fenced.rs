//! A call as a name and JSON arguments between markers, which models have that write a call with tokens of their own.
//! Two orders are known:
//!
//! ```text
//! NAME SEPARATOR {…} END
//! KIND SEPARATOR NAME line end ```json line end {…} line end ``` END
//! ```
//! The arguments are passed on as they are written, up to the end of their object.

use super::object::Nesting;
use super::scan::{SPACE_BYTES_MAX, Scanner};
use super::sections::Call;
use super::{Emissions, NAME_BYTES_MAX, Step, Tools, is_tool_name};

/// The markers of a call.
#[derive(Debug)]
pub(super) struct Fences {
    /// What is between the name, or the kind of call, and the rest.
    pub(super) separator: &'static str,
    /// What ends the call.
    pub(super) end: &'static str,
    /// What ends all calls, and this one if its own end is missing.
    pub(super) end_all: &'static str,
    /// The tool's name in what stands where a name does.
    pub(super) tool: fn(&str) -> &str,
}

/// Reads a call behind the marker that begins it.
#[derive(Debug)]
pub(super) struct FencedCall {
    fences: &'static Fences,
    scanner: Scanner,
    state: State,
    /// What was read before the call was certain.
    written: String,
}

#[derive(Debug)]
enum State {
    /// A name, or the kind of the call.
    Head(String),
    /// Behind the separator.
    Separated(String),
    /// The name, where a kind was before it.
    Name(String),
    /// Before the arguments: what was written instead, a fence apart.
    Before(String),
    Arguments(Nesting),
    /// Behind them.
    Rest,
}

impl FencedCall {
    pub(super) fn new(fences: &'static Fences) -> Self {
        let state = State::Head(String::new());
        Self { fences, scanner: Scanner::default(), state, written: String::new() }
    }

    fn take_head(&mut self, character: char) -> Step {
        self.written.push(character);
        let Fences { separator, end, end_all, .. } = self.fences;
        let markers = [*separator, *end, *end_all];
        let State::Head(head) = &mut self.state else { return Step::More };
        let found = self.scanner.take(character, &markers, 0, |piece| head.push_str(piece));
        match found {
            Some(found) if found.marker == 0 => {
                self.state = State::Separated(std::mem::take(head));
                Step::More
            }
            None if head.len() <= NAME_BYTES_MAX => Step::More,
            _ => self.broken(),
        }
    }

    /// It is no call.
    fn broken(&mut self) -> Step {
        self.scanner.release();
        Step::Broken(std::mem::take(&mut self.written), None)
    }

    /// Begins the call, if `name` is one.
    fn begin(&mut self, name: &str, out: &mut Emissions) -> Step {
        let tool = (self.fences.tool)(name.trim_ascii());
        if tool.is_empty() || !is_tool_name(tool) {
            return self.broken();
        }
        out.begin(tool.to_owned());
        self.state = State::Before(String::new());
        Step::More
    }

    /// Takes a character behind the separator, which is no part of a marker.
    fn take_inner(&mut self, character: char, out: &mut Emissions) -> Step {
        match &mut self.state {
            State::Separated(_) if character.is_ascii_whitespace() => Step::More,
            State::Separated(head) if character == '{' => {
                let head = std::mem::take(head);
                match self.begin(&head, out) {
                    Step::More => self.take_inner(character, out),
                    step => step,
                }
            }
            State::Separated(_) => {
                self.state = State::Name(character.into());
                Step::More
            }
            State::Name(name) if character == '\n' => {
                let name = std::mem::take(name);
                self.begin(&name, out)
            }
            State::Name(name) => {
                name.push(character);
                if name.len() > NAME_BYTES_MAX { self.broken() } else { Step::More }
            }
            State::Before(before) if character != '{' => {
                before.push(character);
                Step::More
            }
            State::Before(_) | State::Arguments(_) => {
                if let State::Before(_) = self.state {
                    self.state = State::Arguments(Nesting::default());
                }
                let State::Arguments(nesting) = &mut self.state else { return Step::More };
                out.argument(character);
                if nesting.take(character) == 0 {
                    self.state = State::Rest;
                }
                Step::More
            }
            State::Head(_) | State::Rest => Step::More,
        }
    }

    /// Ends the call at a marker.
    fn end(&mut self, marker: usize, out: &mut Emissions) -> Step {
        match std::mem::replace(&mut self.state, State::Rest) {
            // No arguments at all.
            State::Separated(name) | State::Name(name) => {
                if let step @ Step::Broken(..) = self.begin(&name, out) {
                    return step;
                }
                out.arguments("{}");
            }
            State::Before(before) => {
                let other = before.trim().trim_matches('`').trim_start_matches("json").trim();
                out.arguments(if other.is_empty() { "{}" } else { other });
            }
            State::Head(_) | State::Arguments(_) | State::Rest => {}
        }
        out.end();
        if marker == 0 { Step::End } else { Step::EndAll }
    }
}

impl Call for FencedCall {
    fn take(&mut self, character: char, _: &Tools, out: &mut Emissions) -> Step {
        if let State::Head(_) = self.state {
            return self.take_head(character);
        }
        if let State::Separated(_) | State::Name(_) = self.state {
            self.written.push(character);
        }
        let mut pieces = String::new();
        let markers = [self.fences.end, self.fences.end_all];
        let found = self.scanner.take(character, &markers, SPACE_BYTES_MAX, |piece| pieces.push_str(piece));
        for piece in pieces.chars() {
            if let step @ Step::Broken(..) = self.take_inner(piece, out) {
                return step;
            }
        }
        found.map_or(Step::More, |found| self.end(found.marker, out))
    }

    fn finish(&mut self, out: &mut Emissions) -> Option<String> {
        let held = self.scanner.release();
        for character in held.chars() {
            if let Step::Broken(written, _) = self.take_inner(character, out) {
                return Some(written);
            }
        }
        match &self.state {
            State::Head(_) | State::Separated(_) | State::Name(_) => Some(std::mem::take(&mut self.written)),
            State::Before(_) | State::Arguments(_) | State::Rest => {
                out.end();
                None
            }
        }
    }
}
