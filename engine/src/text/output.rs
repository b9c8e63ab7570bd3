//! One request's tokens to what its client is shown: text and tool calls.

use std::sync::Arc;

use super::Tokenizer;
use super::detokenizer::Detokenizer;
use super::stop::StopMatcher;
use super::tool_call::ToolCallParser;

/// A part of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Emission {
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
pub struct Output {
    detokenizer: Detokenizer,
    stop: StopMatcher,
    /// `None` if calls are not looked for, so that all is text.
    calls: Option<ToolCallParser>,
    stopped: bool,
}

impl Output {
    /// Starts a reply that ends at any of the `stops`. `parse_tools` looks for tool calls: pass it if the
    /// request has tools and [`calls_tools_in_hermes_form`](super::Template::calls_tools_in_hermes_form).
    pub fn new(tokenizer: Arc<Tokenizer>, stops: Vec<String>, parse_tools: bool) -> Self {
        Self {
            detokenizer: Detokenizer::new(tokenizer),
            stop: StopMatcher::new(stops),
            calls: parse_tools.then(ToolCallParser::new),
            stopped: false,
        }
    }

    /// Takes the next token and returns what is certain by now.
    pub fn push(&mut self, token: u32) -> Vec<Emission> {
        let text = self.detokenizer.push(token);
        self.scan(&text)
    }

    /// Ends the reply and returns what was held back.
    pub fn finish(&mut self) -> Vec<Emission> {
        let text = self.detokenizer.finish();
        let mut emissions = self.scan(&text);
        let held = self.stop.finish();
        emissions.extend(self.parse(held));
        if let Some(calls) = &mut self.calls {
            emissions.extend(calls.finish());
        }
        emissions
    }

    /// Whether a stop string was met. Nothing but what is held back comes after it: the caller ends the
    /// request.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    fn scan(&mut self, text: &str) -> Vec<Emission> {
        let scan = self.stop.push(text);
        self.stopped = scan.stopped;
        self.parse(scan.text)
    }

    fn parse(&mut self, text: String) -> Vec<Emission> {
        match &mut self.calls {
            Some(calls) => calls.push(&text),
            None if text.is_empty() => Vec::new(),
            None => vec![Emission::Text(text)],
        }
    }
}
