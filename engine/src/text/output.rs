//! One request's tokens to what its client is shown: text and tool calls.

use std::sync::Arc;

use super::Tokenizer;
use super::detokenizer::Detokenizer;
use super::stop::StopMatcher;
use super::tool_call::ToolCallParser;

/// A part of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Emission {
    /// Text, never empty.
    Text(String),
    /// A tool call, complete. Several in a reply are parallel calls.
    ToolCall {
        /// The tool's name.
        name: String,
        /// The JSON text that the model wrote, or `{}` if it wrote none.
        arguments: String,
    },
}

/// Turns the sampled tokens of one request into a reply.
///
/// The end token is not for this: the caller ends the request at it and calls [`Self::finish`].
#[derive(Debug)]
pub(crate) struct Output {
    detokenizer: Detokenizer,
    stop: StopMatcher,
    /// `None` if calls are not looked for, so that all is text.
    calls: Option<ToolCallParser>,
}

impl Output {
    /// Starts a reply that ends at any of the `stops`. `parse_tools` looks for tool calls: pass it if the
    /// request has tools and [`calls_tools_in_hermes_form`](super::Template::calls_tools_in_hermes_form).
    pub(crate) fn new(tokenizer: Arc<Tokenizer>, stops: Vec<String>, parse_tools: bool) -> Self {
        Self {
            detokenizer: Detokenizer::new(tokenizer),
            stop: StopMatcher::new(stops),
            calls: parse_tools.then(ToolCallParser::new),
        }
    }

    /// Takes the next token and returns what is certain by now.
    pub(crate) fn push(&mut self, token: u32) -> Vec<Emission> {
        let text = self.detokenizer.push(token);
        self.scan(&text)
    }

    /// Ends the reply and returns what was held back.
    pub(crate) fn finish(&mut self) -> Vec<Emission> {
        let text = self.detokenizer.finish();
        let mut emissions = self.scan(&text);
        let held = self.stop.finish();
        emissions.extend(self.parse(held));
        if let Some(calls) = &mut self.calls {
            emissions.extend(calls.finish());
        }
        emissions
    }

    /// The stop string that was met. Nothing but what is held back comes after it: the caller ends the request.
    pub(crate) fn matched_stop(&self) -> Option<&str> {
        self.stop.matched()
    }

    fn scan(&mut self, text: &str) -> Vec<Emission> {
        let text = self.stop.push(text);
        self.parse(text)
    }

    fn parse(&mut self, text: String) -> Vec<Emission> {
        match &mut self.calls {
            Some(calls) => calls.push(&text),
            None if text.is_empty() => Vec::new(),
            None => vec![Emission::Text(text)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::golden_tokenizer;
    use super::*;

    /// Pushes a text's tokens until a stop string, as an engine does, and joins neighbouring texts.
    fn reply(text: &str, stops: &[&str], parse_tools: bool) -> (Vec<Emission>, bool) {
        let tokenizer = golden_tokenizer();
        let tokens = tokenizer.encode(text).unwrap();
        let mut output = Output::new(tokenizer, stops.iter().map(ToString::to_string).collect(), parse_tools);
        let mut emissions: Vec<Emission> = Vec::new();
        for token in tokens {
            emissions.extend(output.push(token));
            if output.matched_stop().is_some() {
                break;
            }
        }
        emissions.extend(output.finish());
        let mut joined: Vec<Emission> = Vec::new();
        for emission in emissions {
            match (joined.last_mut(), emission) {
                (Some(Emission::Text(before)), Emission::Text(text)) => before.push_str(&text),
                (_, emission) => joined.push(emission),
            }
        }
        (joined, output.matched_stop().is_some())
    }

    fn text(text: &str) -> Emission {
        Emission::Text(text.to_owned())
    }

    const CALL: &str =
        "I look.\n<tool_call>\n{\"name\": \"clock\", \"arguments\": {\"zone\": \"天气 😀\"}}\n</tool_call>";

    #[test]
    fn text_and_calls_come_out_of_tokens() {
        let call =
            Emission::ToolCall { name: "clock".into(), arguments: "{\"zone\": \"天气 😀\"}".into() };
        assert_eq!(reply(CALL, &[], true), (vec![text("I look."), call], false));
    }

    #[test]
    fn calls_are_text_if_nobody_looks_for_them() {
        assert_eq!(reply(CALL, &[], false), (vec![text(CALL)], false));
    }

    #[test]
    fn a_stop_string_ends_the_reply_before_it() {
        assert_eq!(
            reply("The gate is shut. It opens.", &["shut. It"], false),
            (vec![text("The gate is ")], true)
        );
    }

    #[test]
    fn a_stop_string_within_a_call_leaves_the_text_that_was_written() {
        let (emissions, stopped) = reply(CALL, &["\"arguments\""], true);
        assert_eq!(emissions, [text("I look.\n<tool_call>\n{\"name\": \"clock\", ")]);
        assert!(stopped);
    }

    #[test]
    fn a_stop_string_that_only_began_is_shown_at_the_end() {
        assert_eq!(reply("The gate is", &["isn't"], true), (vec![text("The gate is")], false));
    }

    #[test]
    fn special_tokens_are_not_shown() {
        assert_eq!(reply("hi<|im_end|>", &[], false), (vec![text("hi")], false));
    }

    #[test]
    fn an_empty_reply_has_no_emissions() {
        assert_eq!(reply("", &["x"], true), (vec![], false));
    }
}
