//! Finds tool calls in a reply of the Hermes form, which Qwen and others share, as it streams:
//!
//! ```text
//! I look.
//! <tool_call>
//! {"name": "get_weather", "arguments": {"city": "Paris"}}
//! </tool_call>
//! ```
//! A pure state machine: how the text was cut into pieces makes no difference. Text outside calls is passed on
//! at once, except for what may be the start of a tag and the white space before it. A call that begins as above, name
//! first, is passed on as it is written: from the opening brace of its arguments on it is a call, and its arguments are
//! the model's, mistakes included. Every other call is read as a whole at its end. It never fails: a call that is not
//! closed by then or is no such JSON object comes out as the text that the model wrote. The buffer of an open call is
//! bounded by the request's own limit of output tokens.

use super::object::{Head, Strings, head, parse};
use super::scan::SPACE_BYTES_MAX;
use super::{CallReader, Emissions};

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";

/// Splits a reply into text and tool calls.
#[derive(Debug, Default)]
pub(super) struct HermesReader {
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
    /// In the arguments of a call that was begun: the buffer is what may be the start of the closing tag.
    Arguments(Strings, Depth),
    /// Behind them, up to the closing tag: likewise.
    Rest(Strings),
}

/// Braces and brackets that are open.
type Depth = usize;

/// How far the body of a call was read. A closing tag within a JSON string is part of the string.
#[derive(Debug)]
struct Body {
    /// Where the body begins in the buffer.
    start: usize,
    /// How far the buffer was read.
    read: usize,
    strings: Strings,
    /// Whether it may still begin with a name and go on with arguments.
    head: bool,
}

impl CallReader for HermesReader {
    fn take(&mut self, character: char, out: &mut Emissions) {
        self.push(character.encode_utf8(&mut [0; 4]), out);
    }

    fn push(&mut self, text: &str, out: &mut Emissions) {
        self.buffer.push_str(text);
        while self.step(out) {}
    }

    fn finish(&mut self, out: &mut Emissions) {
        let rest = std::mem::take(&mut self.buffer);
        match std::mem::take(&mut self.state) {
            State::Text | State::AfterCall | State::Call(_) => out.text(&rest),
            State::Arguments(..) => {
                out.arguments(&rest);
                out.end();
            }
            State::Rest(_) => out.end(),
        }
    }
}

impl HermesReader {
    /// Goes on to the next state; returns whether the buffer may hold more to do.
    fn step(&mut self, out: &mut Emissions) -> bool {
        match &mut self.state {
            State::Text => self.read_text(out),
            State::AfterCall => {
                let spaces = self.buffer.len() - self.buffer.trim_ascii_start().len();
                self.buffer.drain(..spaces);
                if self.buffer.is_empty() {
                    return false;
                }
                self.state = State::Text;
                true
            }
            State::Call(_) => self.read_call(out),
            State::Arguments(..) => self.read_arguments(out),
            State::Rest(strings) => {
                let close = find_close(strings, &self.buffer, 0);
                self.end_at(close, out)
            }
        }
    }

    /// Emits text up to a tag; returns whether there is one.
    fn read_text(&mut self, out: &mut Emissions) -> bool {
        let tag = self.buffer.find(OPEN);
        let text_end = tag.unwrap_or(self.buffer.len() - partial_tag_len(&self.buffer));
        let text_end = text_end - trailing_space_len(&self.buffer[..text_end]);
        let held = self.buffer.split_off(text_end);
        out.text(&std::mem::replace(&mut self.buffer, held));
        let Some(tag) = tag else { return false };
        let start = tag - text_end + OPEN.len();
        self.state = State::Call(Body { start, read: start, strings: Strings::default(), head: true });
        true
    }

    /// Reads a call until its arguments begin or, if it is of another form, until it is whole.
    fn read_call(&mut self, out: &mut Emissions) -> bool {
        let State::Call(body) = &mut self.state else { return false };
        if body.head {
            match head(&self.buffer.as_bytes()[body.start..]) {
                Head::Part => {}
                Head::Other => body.head = false,
                Head::Whole(name, arguments) => {
                    self.buffer.drain(..body.start + arguments);
                    out.begin(name);
                    self.state = State::Arguments(Strings::default(), 0);
                    return true;
                }
            }
        }
        let end = match find_close(&mut body.strings, &self.buffer, body.read) {
            Ok(end) => end,
            Err(read) => {
                body.read = read;
                return false;
            }
        };
        let start = body.start;
        let rest = self.buffer.split_off(end + CLOSE.len());
        let call = std::mem::replace(&mut self.buffer, rest);
        self.state = if let Some(written) = parse(&call[start..end]) {
            written.emit(out);
            State::AfterCall
        } else {
            out.text(&call);
            State::Text
        };
        true
    }

    /// Emits arguments up to their end or, if a brace is missing, the closing tag.
    fn read_arguments(&mut self, out: &mut Emissions) -> bool {
        let State::Arguments(strings, depth) = &mut self.state else { return false };
        for (index, byte) in self.buffer.bytes().enumerate() {
            if !strings.is_outside(byte) {
                continue;
            }
            match byte {
                b'{' | b'[' => *depth += 1,
                b'}' | b']' => *depth -= 1,
                b'<' if is_close(&self.buffer[index..]) != Some(false) => {
                    let tag = self.buffer.split_off(index);
                    out.arguments(&std::mem::replace(&mut self.buffer, tag));
                    return is_close(&self.buffer) == Some(true) && self.end_at(Ok(0), out);
                }
                _ => {}
            }
            if *depth == 0 {
                let rest = self.buffer.split_off(index + 1);
                out.arguments(&std::mem::replace(&mut self.buffer, rest));
                self.state = State::Rest(Strings::default());
                return true;
            }
        }
        out.arguments(&std::mem::take(&mut self.buffer));
        false
    }

    /// Drops what is before the closing tag and ends the call there, if it is there.
    fn end_at(&mut self, close: Result<usize, usize>, out: &mut Emissions) -> bool {
        match close {
            Ok(end) => {
                self.buffer.drain(..end + CLOSE.len());
                out.end();
                self.state = State::AfterCall;
                true
            }
            Err(read) => {
                self.buffer.drain(..read);
                false
            }
        }
    }
}

/// Reads on from `from` and returns where the closing tag begins, or how far there is none.
fn find_close(strings: &mut Strings, buffer: &str, from: usize) -> Result<usize, usize> {
    for (index, byte) in buffer.bytes().enumerate().skip(from) {
        if strings.is_outside(byte) && byte == b'<' {
            match is_close(&buffer[index..]) {
                Some(true) => return Ok(index),
                Some(false) => {}
                None => return Err(index),
            }
        }
    }
    Err(buffer.len())
}

/// Whether a text begins with the closing tag; `None` if its rest decides.
fn is_close(text: &str) -> Option<bool> {
    if text.starts_with(CLOSE) {
        Some(true)
    } else if CLOSE.starts_with(text) {
        None
    } else {
        Some(false)
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
    use crate::text::Emission;
    use crate::text::tests::joined;

    fn push(parser: &mut HermesReader, text: &str) -> Vec<Emission> {
        let mut out = Emissions::default();
        parser.push(text, &mut out);
        out.into()
    }

    fn text(text: &str) -> Emission {
        Emission::Text(text.to_owned())
    }

    fn call(name: &str, arguments: &str) -> [Emission; 3] {
        let begin = Emission::CallBegin { name: name.to_owned() };
        [begin, Emission::Arguments(arguments.to_owned()), Emission::CallEnd]
    }

    fn parse_all<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Vec<Emission> {
        let mut parser = HermesReader::default();
        let mut emissions: Vec<Emission> =
            pieces.into_iter().flat_map(|piece| push(&mut parser, piece)).collect();
        let mut out = Emissions::default();
        parser.finish(&mut out);
        emissions.extend(Vec::from(out));
        joined(emissions)
    }

    const CALL: &str =
        "<tool_call>\n{\"name\": \"clock\", \"arguments\": {\"zone\":  \"UTC\"}}\n</tool_call>";

    #[test]
    fn a_call_gives_its_name_and_its_arguments_as_written() {
        assert_eq!(parse_all([CALL]), call("clock", "{\"zone\":  \"UTC\"}"));
    }

    #[test]
    fn white_space_around_calls_is_dropped_and_text_is_not() {
        let reply = format!("I look.\n\n{CALL}\n {CALL}\n\nDone. ");
        let clock = call("clock", "{\"zone\":  \"UTC\"}");
        let expected = [vec![text("I look.")], clock.to_vec(), clock.to_vec(), vec![text("Done. ")]].concat();
        assert_eq!(parse_all([reply.as_str()]), expected);
    }

    #[test]
    fn absent_and_null_arguments_are_an_empty_object() {
        for body in [r#"{"name": "clock"}"#, r#"{"arguments": null, "name": "clock"}"#] {
            let reply = format!("<tool_call>{body}</tool_call>");
            assert_eq!(parse_all([reply.as_str()]), call("clock", "{}"));
        }
    }

    #[test]
    fn a_closing_tag_within_a_string_does_not_close() {
        let arguments = r#"{"html": "</tool_call> \" <tool_call>"}"#;
        let reply = format!("<tool_call>{{\"name\": \"show\", \"arguments\": {arguments}}}</tool_call>");
        assert_eq!(parse_all([reply.as_str()]), call("show", arguments));
    }

    #[test]
    fn what_is_no_call_comes_out_as_it_was_written() {
        for reply in [
            "a <tool_call>\nnot json\n</tool_call> b",
            "<tool_call>{\"name\": \"\", \"arguments\": {}}</tool_call>",
            "<tool_call>[\"clock\", {}]</tool_call>",
            "<tool_call>{\"name\": \"clock\"} {}</tool_call>",
            "<tool_call>\n{\"name\": \"clock\", \"arg",
            "<tool_call>\n{\"arguments\": {}, \"name\": \"cl",
            "<tool_call>\n{\"name\": \"\", \"arguments\": {",
            "<tool_call>\n{\"name\": \"a\tb\", \"arguments\": {",
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
        assert_eq!(
            parse_all([reply.as_str()]),
            [&[text(broken)], call("clock", "{\"zone\":  \"UTC\"}").as_slice()].concat()
        );
    }

    #[test]
    fn text_is_passed_on_at_once_unless_it_may_be_a_tag() {
        let mut parser = HermesReader::default();
        assert_eq!(push(&mut parser, "a < b <"), [text("a < b")]);
        assert_eq!(push(&mut parser, "tool"), []);
        assert_eq!(push(&mut parser, "box>"), [text(" <toolbox>")]);
        assert_eq!(push(&mut parser, "\n\n"), []);
        assert_eq!(push(&mut parser, "c"), [text("\n\nc")]);
    }

    #[test]
    fn arguments_are_passed_on_as_they_are_written() {
        let mut parser = HermesReader::default();
        assert_eq!(push(&mut parser, "<tool_call>{\"name\": \"clock\", \"arguments\": "), []);
        let begun = [Emission::CallBegin { name: "clock".into() }, Emission::Arguments("{\"zo".into())];
        assert_eq!(push(&mut parser, "{\"zo"), begun);
        assert_eq!(push(&mut parser, "ne\": [{}"), [Emission::Arguments("ne\": [{}".into())]);
        assert_eq!(push(&mut parser, "], \"é\": \"}\""), [Emission::Arguments("], \"é\": \"}\"".into())]);
        assert_eq!(
            push(&mut parser, "}, \"id\": \"</tool_call>\"}\n</tool"),
            [Emission::Arguments("}".into())]
        );
        assert_eq!(push(&mut parser, "_call>"), [Emission::CallEnd]);
        assert_eq!(push(&mut parser, "\nDone"), [text("Done")]);
    }

    #[test]
    fn a_call_that_breaks_after_it_began_keeps_the_arguments_that_were_written() {
        let begun = "<tool_call>\n{\"name\": \"clock\", \"arguments\": {\"zone\": ";
        for (rest, arguments) in [
            ("", "{\"zone\": "),
            ("</tool_", "{\"zone\": </tool_"),
            ("3</tool_call>", "{\"zone\": 3"),
            ("\"U}}\n</tool_call>", "{\"zone\": \"U}}\n"),
            ("<3>}} {}</tool_call>", "{\"zone\": <3>}"),
        ] {
            let reply = format!("{begun}{rest}");
            assert_eq!(parse_all([reply.as_str()]), call("clock", arguments), "{rest}");
        }
    }

    #[test]
    fn a_name_without_end_is_not_read_again_and_again() {
        let reply =
            format!("<tool_call>{{\"name\": \"{}\", \"arguments\": {{}}}}</tool_call>", "n".repeat(600));
        assert_eq!(parse_all([reply.as_str()]), call(&"n".repeat(600), "{}"));
    }

    #[test]
    fn endless_white_space_is_not_held_back() {
        let mut parser = HermesReader::default();
        for _ in 0..1000 {
            push(&mut parser, "\n ");
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
            Just("<tool_call>{ \"name\" :\"x\",\"arguments\":{\"b\": [1, {}".to_owned()),
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
