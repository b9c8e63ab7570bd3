//! Finds tool calls in a reply of the Hermes form, which Qwen and others share, as it streams:
//!
//! ```text
//! I look.
//! <tool_call>
//! {"name": "get_weather", "arguments": {"city": "Paris"}}
//! </tool_call>
//! ```
//! A pure state machine: how the text was cut into pieces makes no difference. Text outside calls is passed on
//! at once, except for what may be the start of a tag and the white space before it. It never fails: a call
//! that is not closed or is no such JSON object comes out as the text that the model wrote. The buffer of an
//! open call is bounded by the request's own limit of output tokens.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Emission;

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";
/// White space before a tag is the form's, not the text's; up to this many bytes of it are dropped.
const SPACE_BYTES_MAX: usize = 64;

/// Splits a reply into text and tool calls.
#[derive(Debug, Default)]
pub(super) struct ToolCallParser {
    state: State,
    /// What arrived and was not emitted.
    buffer: String,
}

#[derive(Debug, Default)]
enum State {
    /// In text: the buffer is white space and what may be the start of a tag.
    #[default]
    Text,
    /// After a call: white space is dropped.
    AfterCall,
    /// In a call: the buffer is white space, the tag and the body so far.
    Call(Body),
}

/// How far the body of a call was read. A closing tag within a JSON string is part of the string.
#[derive(Debug)]
struct Body {
    /// Where the body begins in the buffer.
    start: usize,
    /// How far the buffer was read.
    read: usize,
    in_string: bool,
    escaped: bool,
}

/// What a model writes between the tags.
#[derive(Deserialize)]
struct Written<'a> {
    name: String,
    #[serde(borrow)]
    arguments: Option<&'a RawValue>,
}

impl ToolCallParser {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// Takes the next piece of the reply and returns what is certain by now.
    pub(super) fn push(&mut self, text: &str) -> Vec<Emission> {
        self.buffer.push_str(text);
        let mut emissions = Vec::new();
        while self.step(&mut emissions) {}
        emissions
    }

    /// Ends the reply. Returns what was held back: it became no tag and no call.
    pub(super) fn finish(&mut self) -> Vec<Emission> {
        self.state = State::Text;
        let mut emissions = Vec::new();
        emit_text(&mut emissions, std::mem::take(&mut self.buffer));
        emissions
    }

    /// Goes on to the next state; returns whether the buffer may hold more to do.
    fn step(&mut self, emissions: &mut Vec<Emission>) -> bool {
        match &mut self.state {
            State::Text => self.read_text(emissions),
            State::AfterCall => {
                let spaces = self.buffer.len() - self.buffer.trim_ascii_start().len();
                self.buffer.drain(..spaces);
                if self.buffer.is_empty() {
                    return false;
                }
                self.state = State::Text;
                true
            }
            State::Call(body) => {
                let Some(end) = body.find_end(&self.buffer) else { return false };
                let start = body.start;
                let rest = self.buffer.split_off(end + CLOSE.len());
                let call = std::mem::replace(&mut self.buffer, rest);
                self.state = if let Some(emission) = parse(&call[start..end]) {
                    emissions.push(emission);
                    State::AfterCall
                } else {
                    emit_text(emissions, call);
                    State::Text
                };
                true
            }
        }
    }

    /// Emits text up to a tag; returns whether there is one.
    fn read_text(&mut self, emissions: &mut Vec<Emission>) -> bool {
        let tag = self.buffer.find(OPEN);
        let text_end = tag.unwrap_or(self.buffer.len() - partial_tag_len(&self.buffer));
        let text_end = text_end - trailing_space_len(&self.buffer[..text_end]);
        let held = self.buffer.split_off(text_end);
        emit_text(emissions, std::mem::replace(&mut self.buffer, held));
        let Some(tag) = tag else { return false };
        let start = tag - text_end + OPEN.len();
        self.state = State::Call(Body { start, read: start, in_string: false, escaped: false });
        true
    }
}

impl Body {
    /// Reads on and returns where the closing tag begins, if it is there.
    fn find_end(&mut self, buffer: &str) -> Option<usize> {
        for (index, byte) in buffer.bytes().enumerate().skip(self.read) {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_string => self.escaped = true,
                b'"' => self.in_string = !self.in_string,
                // JSON has no line end within a string, so the quote is missing: the next tag counts again.
                b'\n' => self.in_string = false,
                b'<' if !self.in_string => {
                    let rest = &buffer[index..];
                    if rest.starts_with(CLOSE) {
                        return Some(index);
                    }
                    if CLOSE.starts_with(rest) {
                        self.read = index;
                        return None;
                    }
                }
                _ => {}
            }
        }
        self.read = buffer.len();
        None
    }
}

/// Reads the body of a call, or `None` if it is not of the form.
fn parse(body: &str) -> Option<Emission> {
    let body = body.trim();
    // Without this, a list of two elements would do as well.
    if !body.starts_with('{') {
        return None;
    }
    let written: Written<'_> = serde_json::from_str(body).ok()?;
    if written.name.is_empty() {
        return None;
    }
    let arguments = written.arguments.map_or("{}", RawValue::get).to_owned();
    Some(Emission::ToolCall { name: written.name, arguments })
}

fn emit_text(emissions: &mut Vec<Emission>, text: String) {
    if !text.is_empty() {
        emissions.push(Emission::Text(text));
    }
}

/// Length of the longest end of the text that is the start of a tag but not all of it.
fn partial_tag_len(text: &str) -> usize {
    (1..OPEN.len()).rev().find(|&len| text.ends_with(&OPEN[..len])).unwrap_or(0)
}

fn trailing_space_len(text: &str) -> usize {
    text.bytes().rev().take(SPACE_BYTES_MAX).take_while(u8::is_ascii_whitespace).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Emission {
        Emission::Text(text.to_owned())
    }

    fn call(name: &str, arguments: &str) -> Emission {
        Emission::ToolCall { name: name.to_owned(), arguments: arguments.to_owned() }
    }

    /// Joins neighbouring texts, whose cuts mean nothing.
    fn parse_all<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Vec<Emission> {
        let mut parser = ToolCallParser::new();
        let mut emissions: Vec<Emission> = pieces.into_iter().flat_map(|piece| parser.push(piece)).collect();
        emissions.extend(parser.finish());
        let mut joined: Vec<Emission> = Vec::new();
        for emission in emissions {
            match (joined.last_mut(), emission) {
                (Some(Emission::Text(before)), Emission::Text(text)) => before.push_str(&text),
                (_, emission) => joined.push(emission),
            }
        }
        joined
    }

    const CALL: &str =
        "<tool_call>\n{\"name\": \"clock\", \"arguments\": {\"zone\":  \"UTC\"}}\n</tool_call>";

    #[test]
    fn a_call_gives_its_name_and_its_arguments_as_written() {
        assert_eq!(parse_all([CALL]), [call("clock", "{\"zone\":  \"UTC\"}")]);
    }

    #[test]
    fn white_space_around_calls_is_dropped_and_text_is_not() {
        let reply = format!("I look.\n\n{CALL}\n {CALL}\n\nDone. ");
        let clock = call("clock", "{\"zone\":  \"UTC\"}");
        assert_eq!(parse_all([reply.as_str()]), [text("I look."), clock.clone(), clock, text("Done. ")]);
    }

    #[test]
    fn absent_and_null_arguments_are_an_empty_object() {
        for body in [r#"{"name": "clock"}"#, r#"{"arguments": null, "name": "clock"}"#] {
            let reply = format!("<tool_call>{body}</tool_call>");
            assert_eq!(parse_all([reply.as_str()]), [call("clock", "{}")]);
        }
    }

    #[test]
    fn a_closing_tag_within_a_string_does_not_close() {
        let arguments = r#"{"html": "</tool_call> \" <tool_call>"}"#;
        let reply = format!("<tool_call>{{\"name\": \"show\", \"arguments\": {arguments}}}</tool_call>");
        assert_eq!(parse_all([reply.as_str()]), [call("show", arguments)]);
    }

    #[test]
    fn what_is_no_call_comes_out_as_it_was_written() {
        for reply in [
            "a <tool_call>\nnot json\n</tool_call> b",
            "<tool_call>{\"name\": \"\", \"arguments\": {}}</tool_call>",
            "<tool_call>[\"clock\", {}]</tool_call>",
            "<tool_call>{\"name\": \"clock\"} {}</tool_call>",
            "<tool_call>\n{\"name\": \"clock\", \"arg",
            "x\n <tool_cal",
            "<tool_call></tool_call>",
            "</tool_call>",
        ] {
            assert_eq!(parse_all([reply]), [text(reply)], "{reply}");
        }
    }

    #[test]
    fn a_call_with_a_missing_quote_does_not_swallow_the_next_one() {
        let broken = "<tool_call>\n{\"name\": \"clock}\n</tool_call>";
        let reply = format!("{broken}\n{CALL}");
        assert_eq!(parse_all([reply.as_str()]), [text(broken), call("clock", "{\"zone\":  \"UTC\"}")]);
    }

    #[test]
    fn text_is_passed_on_at_once_unless_it_may_be_a_tag() {
        let mut parser = ToolCallParser::new();
        assert_eq!(parser.push("a < b <"), [text("a < b")]);
        assert_eq!(parser.push("tool"), []);
        assert_eq!(parser.push("box>"), [text(" <toolbox>")]);
        assert_eq!(parser.push("\n\n"), []);
        assert_eq!(parser.push("c"), [text("\n\nc")]);
    }

    #[test]
    fn endless_white_space_is_not_held_back() {
        let mut parser = ToolCallParser::new();
        for _ in 0..1000 {
            parser.push("\n ");
            assert!(parser.buffer.len() <= SPACE_BYTES_MAX);
        }
    }

    fn fragment() -> impl Strategy<Value = String> {
        prop_oneof![
            Just(CALL.to_owned()),
            Just(OPEN.to_owned()),
            Just(CLOSE.to_owned()),
            Just("{\"name\": \"é\", \"arguments\": ".to_owned()),
            Just("{\"a\": \"</tool_call>\\\"\"}}".to_owned()),
            "[<>a\"\\\\{} \n/😀]{0,6}",
            "[ \n]{60,70}",
        ]
    }

    proptest! {
        #[test]
        fn any_split_gives_what_the_whole_gives(
            fragments in prop::collection::vec(fragment(), 0..10),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
        ) {
            let reply = fragments.concat();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(reply.len() + 1)).collect();
            cuts.retain(|&cut| reply.is_char_boundary(cut));
            cuts.extend([0, reply.len()]);
            cuts.sort_unstable();
            let pieces = cuts.windows(2).map(|cut| &reply[cut[0]..cut[1]]);
            let whole = parse_all([reply.as_str()]);
            prop_assert_eq!(parse_all(pieces), whole.clone());
            let characters = reply.char_indices().map(|(at, c)| &reply[at..at + c.len_utf8()]);
            prop_assert_eq!(parse_all(characters), whole);
        }

        #[test]
        fn text_without_a_tag_is_unchanged(reply in "[a-z<>/_ \n{}\"]{0,80}") {
            prop_assume!(!reply.contains(OPEN) && !reply.is_empty());
            prop_assert_eq!(parse_all([reply.as_str()]), [text(&reply)]);
        }
    }
}
