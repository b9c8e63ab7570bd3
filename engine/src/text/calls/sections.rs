//! Calls between markers, which most forms have in common:
//!
//! ```text
//! text OPEN CALL … CALL_END CALL … CALL_END CLOSE text
//! ```
//! What is between `CALL` and its end is another reader's. Text outside is passed on at once, except for what may be
//! the start of a marker and the white space before it. What comes behind `OPEN` and is no call comes out as it was
//! written; white space around calls is the form's.

use super::scan::{SPACE_BYTES_MAX, Scanner};
use super::{CallReader, Emissions, Step, Tools};

/// The markers around calls.
#[derive(Debug)]
pub(super) struct Markers {
    /// What begins a row of calls.
    pub(super) open: &'static str,
    /// What begins a call in it, also where `open` is missing; `None` where `open` begins a single call.
    pub(super) call: Option<&'static str>,
    /// What ends the row.
    pub(super) close: &'static str,
}

/// Reads what is between the markers of a call.
pub(super) trait Call: std::fmt::Debug + Send {
    /// Takes the next character behind the marker.
    fn take(&mut self, character: char, tools: &Tools, out: &mut Emissions) -> Step;

    /// Ends the reply within the call; returns what was written, if it did not become one.
    fn finish(&mut self, out: &mut Emissions) -> Option<String>;
}

/// Reads a reply with such calls.
#[derive(Debug)]
pub(super) struct Sections<C> {
    markers: &'static Markers,
    tools: Tools,
    begin: fn() -> C,
    scanner: Scanner,
    state: State<C>,
    /// The markers that were read and are text again if no call follows.
    head: String,
    /// Whether the row has had a call.
    begun: bool,
}

#[derive(Debug)]
enum State<C> {
    Text,
    /// Where a call may begin.
    Section,
    Call(C),
    /// Behind calls: white space is dropped.
    After,
}

impl<C: Call> Sections<C> {
    /// `begin` makes the reader of a call.
    pub(super) fn new(markers: &'static Markers, tools: Tools, begin: fn() -> C) -> Self {
        let scanner = Scanner::default();
        Self { markers, tools, begin, scanner, state: State::Text, head: String::new(), begun: false }
    }

    fn take_text(&mut self, character: char, out: &mut Emissions) {
        let Markers { open, call, .. } = self.markers;
        let markers = [*open, call.unwrap_or(open)];
        let found = self.scanner.take(character, &markers, SPACE_BYTES_MAX, |text| out.text(text));
        let Some(found) = found else { return };
        self.head = found.written;
        self.begun = false;
        let is_call = call.is_none() || found.marker == 1;
        self.state = if is_call { State::Call((self.begin)()) } else { State::Section };
    }

    fn take_section(&mut self, character: char, out: &mut Emissions) {
        let call = self.markers.call.unwrap_or(self.markers.open);
        let mut other = String::new();
        let markers = [call, self.markers.close];
        let found = self.scanner.take(character, &markers, SPACE_BYTES_MAX, |text| other.push_str(text));
        match found {
            Some(found) if found.marker == 0 => {
                self.head.push_str(&found.written);
                self.state = State::Call((self.begin)());
            }
            Some(_) if self.begun => self.state = State::After,
            Some(found) => self.degrade(&found.written, out),
            None if other.is_empty() => {}
            None if self.begun => self.degrade(other.trim_ascii_start(), out),
            None => self.degrade(&other, out),
        }
    }

    /// Makes what was read text again.
    fn degrade(&mut self, written: &str, out: &mut Emissions) {
        out.text(&std::mem::take(&mut self.head));
        out.text(written);
        self.state = State::Text;
    }
}

impl<C: Call> CallReader for Sections<C> {
    fn take(&mut self, character: char, out: &mut Emissions) {
        match &mut self.state {
            State::Text => self.take_text(character, out),
            State::After if character.is_ascii_whitespace() => {}
            State::After => {
                self.state = State::Text;
                self.take_text(character, out);
            }
            State::Section => self.take_section(character, out),
            State::Call(call) => match call.take(character, &self.tools, out) {
                Step::More => {}
                step @ (Step::End | Step::EndAll) => {
                    self.head.clear();
                    self.begun = true;
                    let goes_on = matches!(step, Step::End) && self.markers.call.is_some();
                    self.state = if goes_on { State::Section } else { State::After };
                }
                Step::Broken(written, next) => {
                    self.degrade(&written, out);
                    if let Some(next) = next {
                        self.take_text(next, out);
                    }
                }
            },
        }
    }

    fn finish(&mut self, out: &mut Emissions) {
        let held = self.scanner.release();
        match &mut self.state {
            State::Text | State::After => out.text(&held),
            State::Section if self.begun => out.text(held.trim_ascii_start()),
            State::Section => self.degrade(&held, out),
            State::Call(call) => {
                if let Some(written) = call.finish(out) {
                    self.degrade(&written, out);
                }
            }
        }
    }
}
