//! The form of gpt-oss, in which all that a model writes is a message with a header:
//!
//! ```text
//! <|channel|>analysis<|message|>They ask for the weather.<|end|>
//! <|start|>assistant<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{"city": "Paris"}<|call|>
//! <|start|>assistant<|channel|>final<|message|>It rains.<|return|>
//! ```
//! The prompt ends in `<|start|>assistant`, so a reply begins within a header. A recipient stands before or behind the
//! channel. `analysis` is thought; a message to one of the functions on offer is a call; everything else is text, as is
//! a reply without header. `<|call|>` and `<|return|>` end a turn, so they are mostly not seen. Source: the description of the
//! format that is published with the model.

use super::scan::{SPACE_BYTES_MAX, Scanner};
use super::{CallReader, Emissions, NAME_BYTES_MAX, Tools};

const CHANNEL: &str = "<|channel|>";
const START: &str = "<|start|>";
const MESSAGE: &str = "<|message|>";
const CONSTRAIN: &str = "<|constrain|>";

pub(super) static MARKERS: [&str; 7] =
    [START, CHANNEL, MESSAGE, CONSTRAIN, "<|end|>", "<|call|>", "<|return|>"];

/// Longest header, in bytes; a longer one is text.
const HEADER_BYTES_MAX: usize = 2 * NAME_BYTES_MAX;

/// Reads a reply.
#[derive(Debug)]
pub(super) struct HarmonyReader {
    tools: Tools,
    scanner: Scanner,
    state: State,
}

#[derive(Debug)]
enum State {
    /// In the header of a message.
    Header(String),
    Body(Kind),
    /// Behind a message: white space is dropped.
    After,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Text,
    Thought,
    /// A call, before its first argument.
    Call,
    /// A call with arguments.
    Arguments,
}

impl HarmonyReader {
    pub(super) fn new(tools: Tools) -> Self {
        Self { tools, scanner: Scanner::default(), state: State::Header(String::new()) }
    }

    fn take_header(&mut self, mut header: String, character: char, out: &mut Emissions) {
        header.push(character);
        self.state = if let Some(whole) = header.strip_suffix(MESSAGE) {
            State::Body(self.begin(whole, out))
        } else if header.len() > HEADER_BYTES_MAX || !may_be_header(&header) {
            out.text(&header);
            State::Body(Kind::Text)
        } else {
            State::Header(header)
        };
    }

    /// Says what a message is, and begins its call if it is one.
    fn begin(&self, header: &str, out: &mut Emissions) -> Kind {
        let word = |text: &str| {
            let end = text.find(|character: char| character.is_whitespace() || character == '<');
            text[..end.unwrap_or(text.len())].to_owned()
        };
        let recipient = header.split_once("to=").map(|(_, rest)| word(rest));
        let recipient = recipient.as_deref().map(|name| name.strip_prefix("functions.").unwrap_or(name));
        if let Some(tool) = recipient.and_then(|name| self.tools.iter().find(|tool| tool.name == name)) {
            out.begin(tool.name.clone());
            return Kind::Call;
        }
        match header.split_once(CHANNEL).map(|(_, rest)| word(rest.trim_start())).as_deref() {
            Some("analysis") => Kind::Thought,
            _ => Kind::Text,
        }
    }

    fn take_body(&mut self, mut kind: Kind, character: char, out: &mut Emissions) {
        let found = self.scanner.take(character, &MARKERS, 0, |piece| emit(&mut kind, piece, out));
        let Some(found) = found else {
            self.state = State::Body(kind);
            return;
        };
        self.state = match MARKERS[found.marker] {
            START | CHANNEL => {
                end(kind, out);
                State::Header(if found.marker == 0 { String::new() } else { found.written })
            }
            // They mean nothing here.
            MESSAGE | CONSTRAIN => State::Body(kind),
            _ => {
                end(kind, out);
                State::After
            }
        };
    }

    /// Behind a message, where another header or, by mistake, text follows.
    fn take_after(&mut self, character: char, out: &mut Emissions) {
        let mut other = String::new();
        let found =
            self.scanner.take(character, &[START, CHANNEL], SPACE_BYTES_MAX, |text| other.push_str(text));
        self.state = match found {
            Some(found) if found.marker == 0 => State::Header(String::new()),
            Some(_) => State::Header(CHANNEL.to_owned()),
            None if other.trim_ascii().is_empty() => State::After,
            None => {
                out.text(other.trim_ascii_start());
                State::Body(Kind::Text)
            }
        };
    }
}

/// Passes on a piece of a message.
fn emit(kind: &mut Kind, piece: &str, out: &mut Emissions) {
    match kind {
        Kind::Text => out.text(piece),
        Kind::Thought => out.reasoning(piece),
        Kind::Call if piece.trim_ascii().is_empty() => {}
        Kind::Call | Kind::Arguments => {
            *kind = Kind::Arguments;
            out.arguments(piece);
        }
    }
}

/// Ends a message.
fn end(kind: Kind, out: &mut Emissions) {
    if kind == Kind::Call {
        out.arguments("{}");
    }
    if matches!(kind, Kind::Call | Kind::Arguments) {
        out.end();
    }
}

/// Whether a text may go on to be a header: a role, then a recipient, a channel and a form in any order.
fn may_be_header(text: &str) -> bool {
    let rest = text.trim_ascii_start();
    let rest = rest.strip_prefix("assistant").unwrap_or(rest).trim_ascii_start();
    ["assistant", "to=", CHANNEL, MESSAGE, CONSTRAIN]
        .iter()
        .any(|start| start.starts_with(rest) || rest.starts_with(start))
}

impl CallReader for HarmonyReader {
    fn take(&mut self, character: char, out: &mut Emissions) {
        match std::mem::replace(&mut self.state, State::After) {
            State::Header(header) => self.take_header(header, character, out),
            State::Body(kind) => self.take_body(kind, character, out),
            State::After => self.take_after(character, out),
        }
    }

    fn finish(&mut self, out: &mut Emissions) {
        let held = self.scanner.release();
        match std::mem::replace(&mut self.state, State::After) {
            State::Header(header) => out.text(&header),
            State::Body(mut kind) => {
                emit(&mut kind, &held, out);
                // Without its end a call may have been cut, so nothing is put into it.
                if matches!(kind, Kind::Call | Kind::Arguments) {
                    out.end();
                }
            }
            State::After => out.text(held.trim_ascii_start()),
        }
    }

    fn thinks(&self) -> bool {
        matches!(self.state, State::Body(Kind::Thought))
    }
}
