//! A call as a name and parameters between tags, which the XML forms have in common. Its arguments become JSON as they are
//! written ([`values`](super::values)). What stands between parameters and is none is dropped; a call that is cut has
//! arguments that are cut, so that nobody runs half of one.

use super::scan::{SPACE_BYTES_MAX, Scanner};
use super::sections::Call;
use super::values::{Argument, Arguments};
use super::{Emissions, NAME_BYTES_MAX, Step, Tools, is_tool_name};

/// The tags of a call.
#[derive(Debug)]
pub(super) struct Tags {
    /// What the name ends in.
    pub(super) name_end: NameEnd,
    /// What begins a parameter's name, and what ends it.
    pub(super) key: (&'static str, &'static str),
    /// What begins its value, where the end of its name does not.
    pub(super) value: Option<&'static str>,
    /// What ends its value.
    pub(super) value_end: &'static [&'static str],
    /// Whether a value stands on lines of its own.
    pub(super) on_lines: bool,
    /// What ends the call.
    pub(super) end: &'static str,
    /// What ends all calls, and this one if its own end is missing.
    pub(super) end_all: &'static str,
}

/// What the name of a tool ends in.
#[derive(Clone, Copy, Debug)]
pub(super) enum NameEnd {
    /// This text.
    At(&'static str),
    /// White space, or the next tag.
    BeforeTag,
}

/// Reads a call behind the marker that begins it.
#[derive(Debug)]
pub(super) struct TaggedCall {
    tags: &'static Tags,
    scanner: Scanner,
    state: State,
}

#[derive(Debug)]
enum State {
    Name(String),
    /// Between parameters.
    Body(Arguments),
    Key(Arguments, String),
    /// Between a parameter's name and its value.
    Gap(Arguments, String),
    Value(Arguments, Argument, Start),
    Done,
}

/// Whether a value has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Start {
    Ahead,
    Behind,
}

impl TaggedCall {
    pub(super) fn new(tags: &'static Tags) -> Self {
        Self { tags, scanner: Scanner::default(), state: State::Name(String::new()) }
    }

    fn take_name(&mut self, mut name: String, character: char, tools: &Tools, out: &mut Emissions) -> Step {
        let is_space = character.is_ascii_whitespace();
        let (is_end, again) = match self.tags.name_end {
            NameEnd::At(end) => {
                name.push(character);
                let is_end = name.ends_with(end);
                if is_end {
                    name.truncate(name.len() - end.len());
                } else if end.starts_with(character) {
                    // It may be the start of the end.
                    self.state = State::Name(name);
                    return Step::More;
                } else {
                    name.pop();
                }
                (is_end, None)
            }
            NameEnd::BeforeTag if is_space && name.trim_ascii_start().is_empty() => {
                name.push(character);
                self.state = State::Name(name);
                return Step::More;
            }
            NameEnd::BeforeTag => (is_space || character == '<', Some(character)),
        };
        if is_end {
            let tool = name.trim_ascii();
            if tool.is_empty() || !is_tool_name(tool) {
                let end = if let NameEnd::At(end) = self.tags.name_end { end } else { "" };
                return Step::Broken(format!("{name}{end}"), again);
            }
            out.begin(tool.to_owned());
            self.state = State::Body(Arguments::begin(tools, tool, out));
            return again.map_or(Step::More, |character| self.take(character, tools, out));
        }
        if is_space || !is_tool_name(character.encode_utf8(&mut [0; 4])) || name.len() >= NAME_BYTES_MAX {
            return Step::Broken(name, Some(character));
        }
        name.push(character);
        self.state = State::Name(name);
        Step::More
    }

    /// Between tags: whether what is wanted came (0), the end of the call (1) or of all (2).
    fn find(&mut self, character: char, wanted: &'static str) -> Option<usize> {
        let markers = [wanted, self.tags.end, self.tags.end_all];
        self.scanner.take(character, &markers, SPACE_BYTES_MAX, |_| {}).map(|found| found.marker)
    }

    fn end(&mut self, marker: usize, out: &mut Emissions) -> Step {
        Arguments::end(out);
        out.end();
        self.state = State::Done;
        if marker == 1 { Step::End } else { Step::EndAll }
    }

    fn take_value(
        &mut self,
        (arguments, mut argument, mut start): (Arguments, Argument, Start),
        character: char,
        out: &mut Emissions,
    ) {
        let on_lines = self.tags.on_lines;
        let found = self.scanner.take(character, self.tags.value_end, 0, |piece| {
            // The line end behind the tag is the form's.
            let is_first = std::mem::replace(&mut start, Start::Behind) == Start::Ahead;
            let piece = if is_first && on_lines { piece.strip_prefix('\n').unwrap_or(piece) } else { piece };
            argument.push(piece, out);
        });
        self.state = if found.is_some() {
            argument.end(out);
            State::Body(arguments)
        } else {
            State::Value(arguments, argument, start)
        };
    }
}

impl Call for TaggedCall {
    fn take(&mut self, character: char, tools: &Tools, out: &mut Emissions) -> Step {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Name(name) => return self.take_name(name, character, tools, out),
            State::Body(arguments) => match self.find(character, self.tags.key.0) {
                Some(0) => self.state = State::Key(arguments, String::new()),
                Some(marker) => return self.end(marker, out),
                None => self.state = State::Body(arguments),
            },
            State::Key(mut arguments, mut key) => {
                key.push(character);
                self.state = match (key.strip_suffix(self.tags.key.1), self.tags.value) {
                    (None, _) => State::Key(arguments, key),
                    (Some(key), Some(_)) => State::Gap(arguments, key.trim_ascii().to_owned()),
                    (Some(key), None) => {
                        let argument = arguments.parameter(key.trim_ascii().to_owned(), out);
                        State::Value(arguments, argument, Start::Ahead)
                    }
                };
            }
            State::Gap(mut arguments, key) => match self.find(character, self.tags.value.unwrap_or_default())
            {
                Some(0) => {
                    let argument = arguments.parameter(key, out);
                    self.state = State::Value(arguments, argument, Start::Ahead);
                }
                Some(marker) => return self.end(marker, out),
                None => self.state = State::Gap(arguments, key),
            },
            State::Value(arguments, argument, start) => {
                self.take_value((arguments, argument, start), character, out);
            }
            State::Done => {}
        }
        Step::More
    }

    fn finish(&mut self, out: &mut Emissions) -> Option<String> {
        let held = self.scanner.release();
        match std::mem::replace(&mut self.state, State::Done) {
            State::Name(name) => return Some(name),
            State::Value(_, mut argument, _) => {
                argument.push(&held, out);
                out.end();
            }
            State::Body(_) | State::Key(..) | State::Gap(..) => out.end(),
            State::Done => {}
        }
        None
    }
}
