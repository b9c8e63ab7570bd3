//! A call as a JSON object, `{"name": …, "arguments": …}`, which several forms have in common.
//!
//! An object that begins with its name and goes on with arguments is passed on as it is written; every other one is read
//! as a whole at its end. Llama calls the arguments `parameters`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Emissions, Step};

/// Longest start of a call up to its arguments, in bytes; a longer one is read as a whole.
const HEAD_BYTES_MAX: usize = 512;
/// What the arguments are called.
const ARGUMENTS: [&str; 2] = ["\"arguments\"", "\"parameters\""];

/// Whether a place in JSON text is within a string.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Strings {
    within: bool,
    escaped: bool,
}

impl Strings {
    /// Takes the next byte; whether it stands outside of strings.
    pub(super) fn is_outside(&mut self, byte: u8) -> bool {
        match byte {
            _ if self.escaped => self.escaped = false,
            b'\\' if self.within => self.escaped = true,
            b'"' => self.within = !self.within,
            // JSON has no line end within a string, so the quote is missing: the next tag counts again.
            b'\n' => self.within = false,
            _ => return !self.within,
        }
        false
    }
}

/// How deep a place in JSON text is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Nesting {
    strings: Strings,
    depth: usize,
}

impl Nesting {
    /// Takes the next character; returns how many braces and brackets are open behind it.
    pub(super) fn take(&mut self, character: char) -> usize {
        // Nothing beyond ASCII opens or closes anything.
        let byte = u8::try_from(character).unwrap_or(b'x');
        if self.strings.is_outside(byte) {
            match byte {
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        self.depth
    }
}

/// Reads one object, from its opening brace on.
#[derive(Debug, Default)]
pub(super) struct ObjectReader {
    nesting: Nesting,
    part: Part,
    /// What was not emitted.
    written: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// It may still begin with a name and go on with arguments.
    #[default]
    Head,
    /// It begins otherwise.
    Whole,
    /// In the arguments of a call that was begun.
    Arguments,
    /// Behind them.
    Rest,
}

impl ObjectReader {
    /// Takes the next character. Only calls of tools that are `known` are calls.
    pub(super) fn take(
        &mut self,
        character: char,
        known: impl Fn(&str) -> bool,
        out: &mut Emissions,
    ) -> Step {
        let depth = self.nesting.take(character);
        match self.part {
            Part::Head | Part::Whole => {
                self.written.push(character);
                if self.part == Part::Head {
                    self.part = match head(self.written.as_bytes()) {
                        Head::Part => Part::Head,
                        Head::Whole(name, at) if known(&name) => {
                            out.begin(name);
                            out.arguments(&self.written[at..]);
                            Part::Arguments
                        }
                        Head::Other | Head::Whole(..) => Part::Whole,
                    };
                }
                if depth > 0 {
                    return Step::More;
                }
                let written = std::mem::take(&mut self.written);
                match parse(&written).filter(|call| known(&call.name)) {
                    Some(call) => {
                        call.emit(out);
                        Step::End
                    }
                    None => Step::Broken(written, None),
                }
            }
            Part::Arguments => {
                out.argument(character);
                if depth <= 1 {
                    self.part = Part::Rest;
                }
                ended(depth, out)
            }
            Part::Rest => ended(depth, out),
        }
    }

    /// Ends the reply; returns what became no call.
    pub(super) fn finish(&mut self, out: &mut Emissions) -> Option<String> {
        match self.part {
            Part::Head | Part::Whole => Some(std::mem::take(&mut self.written)),
            Part::Arguments | Part::Rest => {
                out.end();
                None
            }
        }
    }
}

/// Ends a call where its object does.
fn ended(depth: usize, out: &mut Emissions) -> Step {
    if depth > 0 {
        return Step::More;
    }
    out.end();
    Step::End
}

/// How a call begins.
pub(super) enum Head {
    /// So far as it should.
    Part,
    /// Otherwise.
    Other,
    /// With this name, and arguments from here on.
    Whole(String, usize),
}

/// Reads `{"name": "...", "arguments": {` at the start of a body.
pub(super) fn head(body: &[u8]) -> Head {
    let short = &body[..body.len().min(HEAD_BYTES_MAX)];
    match name_and_rest(short) {
        Ok((name, rest)) => match serde_json::from_slice::<String>(name) {
            // The brace that was read last is the arguments' own.
            Ok(name) if !name.is_empty() => Head::Whole(name, short.len() - rest.len() - 1),
            _ => Head::Other,
        },
        Err(Mismatch::SoFar) if body.len() < HEAD_BYTES_MAX => Head::Part,
        Err(_) => Head::Other,
    }
}

/// Why a text does not begin as it should.
#[derive(Clone, Copy)]
enum Mismatch {
    /// It is too short to say.
    SoFar,
    /// It begins otherwise.
    Other,
}

/// The name as a JSON string, and what follows the arguments' opening brace.
fn name_and_rest(body: &[u8]) -> Result<(&[u8], &[u8]), Mismatch> {
    let left = skip(body, &["{", "\"name\"", ":"])?;
    let name = body[body.len() - left..].trim_ascii_start();
    let (name, rest) = name.split_at(string_len(name)?);
    let mut mismatch = Mismatch::Other;
    for arguments in ARGUMENTS {
        match skip(rest, &[",", arguments, ":", "{"]) {
            Ok(left) => return Ok((name, &rest[rest.len() - left..])),
            Err(Mismatch::SoFar) => mismatch = Mismatch::SoFar,
            Err(Mismatch::Other) => {}
        }
    }
    Err(mismatch)
}

/// How much is left behind the `literals`, between which there may be white space.
fn skip(text: &[u8], literals: &[&str]) -> Result<usize, Mismatch> {
    literals.iter().try_fold(text.len(), |left, literal| {
        let text = text[text.len() - left..].trim_ascii_start();
        Ok(text.len() - literal_len(text, literal)?)
    })
}

/// The length of `literal`, if the text begins with it.
fn literal_len(text: &[u8], literal: &str) -> Result<usize, Mismatch> {
    if text.starts_with(literal.as_bytes()) {
        Ok(literal.len())
    } else if literal.as_bytes().starts_with(text) {
        Err(Mismatch::SoFar)
    } else {
        Err(Mismatch::Other)
    }
}

/// The length of the JSON string that the text begins with.
fn string_len(text: &[u8]) -> Result<usize, Mismatch> {
    let mut strings = Strings::default();
    for (index, byte) in text.iter().enumerate() {
        if strings.is_outside(*byte) || *byte < b' ' {
            return Err(Mismatch::Other);
        }
        if index > 0 && !strings.within {
            return Ok(index + 1);
        }
    }
    Err(Mismatch::SoFar)
}

/// What a model writes as a call.
#[derive(Deserialize)]
pub(super) struct Written<'a> {
    name: String,
    #[serde(borrow, alias = "parameters")]
    arguments: Option<&'a RawValue>,
}

impl Written<'_> {
    pub(super) fn emit(self, out: &mut Emissions) {
        out.begin(self.name);
        out.arguments(self.arguments.map_or("{}", RawValue::get));
        out.end();
    }
}

/// Reads a whole call, or `None` if it is not of the form.
pub(super) fn parse(body: &str) -> Option<Written<'_>> {
    let body = body.trim();
    // Without this, a list of two elements would do as well.
    if !body.starts_with('{') {
        return None;
    }
    serde_json::from_str(body).ok().filter(|written: &Written<'_>| !written.name.is_empty())
}
