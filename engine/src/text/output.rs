//! One request's tokens to what its client is shown: thoughts, text and tool calls.

use std::sync::Arc;

use super::Tokenizer;
use super::calls::{CallReader, Emissions, ToolForm, Tools};
use super::detokenizer::Detokenizer;
use super::reasoning::{Parted, ReasoningParser, Thinking};
use super::stop::StopMatcher;

/// A part of a reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Emission {
    /// Text, never empty.
    Text(String),
    /// What the model thinks before it answers, never empty.
    Reasoning(String),
    /// A tool call begins. Several in a reply are parallel calls.
    CallBegin {
        /// The tool's name.
        name: String,
    },
    /// A part of the arguments, as JSON text: as the model wrote it, or as what it wrote stands for; never empty.
    Arguments(String),
    /// The call ends.
    CallEnd,
}

/// What is looked for in a reply's text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReplyForm {
    pub(crate) thinking: Thinking,
    pub(crate) calls: Calls,
}

impl ReplyForm {
    /// All is text.
    pub(crate) const TEXT: Self = Self { thinking: Thinking::Never, calls: Calls::AreText };
}

/// What becomes of tool calls.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Calls {
    /// They are not looked for.
    AreText,
    /// They are looked for in a form. The tools' schemas say what arguments mean.
    In(ToolForm, Tools),
}

/// Turns the sampled tokens of one request into a reply.
///
/// The end token is not for this: the caller ends the request at it and calls [`Self::finish`].
#[derive(Debug)]
pub(crate) struct Output {
    detokenizer: Detokenizer,
    stop: StopMatcher,
    reasoning: ReasoningParser,
    /// `None` if calls are not looked for, so that all is text.
    calls: Option<Box<dyn CallReader>>,
}

impl Output {
    /// Starts a reply that ends at any of the `stops`.
    pub(crate) fn new(tokenizer: Arc<Tokenizer>, stops: Vec<String>, form: ReplyForm) -> Self {
        let (markers, calls) = match form.calls {
            Calls::AreText => (&[][..], None),
            Calls::In(form, tools) => (form.markers(), Some(form.reader(tools))),
        };
        let tags = form.thinking.tags().into_iter().flat_map(|tags| [tags.open, tags.close]);
        Self {
            detokenizer: Detokenizer::new(tokenizer).showing(markers.iter().copied().chain(tags)),
            stop: StopMatcher::new(stops),
            reasoning: ReasoningParser::new(form.thinking),
            calls,
        }
    }

    /// Takes the next token and returns what is certain by now.
    pub(crate) fn push(&mut self, token: u32) -> Vec<Emission> {
        let text = self.detokenizer.push(token);
        self.scan(&text)
    }

    /// As [`Self::push`], without looking for stop strings.
    pub(crate) fn pass(&mut self, token: u32) -> Vec<Emission> {
        let text = self.detokenizer.push(token);
        self.parse(&text)
    }

    /// Ends the reply and returns what was held back.
    pub(crate) fn finish(&mut self) -> Vec<Emission> {
        let text = self.detokenizer.finish();
        let mut emissions = self.scan(&text);
        let held = self.stop.finish();
        emissions.extend(self.parse(&held));
        let held = self.reasoning.finish();
        emissions.extend(self.answer(held));
        if let Some(calls) = &mut self.calls {
            let mut out = Emissions::default();
            calls.finish(&mut out);
            emissions.extend(Vec::from(out));
        }
        emissions
    }

    /// The stop string that was met. Nothing but what is held back comes after it: the caller ends the request.
    pub(crate) fn matched_stop(&self) -> Option<&str> {
        self.stop.matched()
    }

    fn scan(&mut self, text: &str) -> Vec<Emission> {
        let text = self.stop.push(text);
        self.parse(&text)
    }

    /// Whether the model is thinking, as far as is known.
    pub(crate) fn thinks(&self) -> bool {
        self.reasoning.thinks() || self.calls.as_ref().is_some_and(|calls| calls.thinks())
    }

    fn parse(&mut self, text: &str) -> Vec<Emission> {
        let parted = self.reasoning.push(text);
        self.answer(parted)
    }

    fn answer(&mut self, Parted { reasoning, answer }: Parted) -> Vec<Emission> {
        let mut out = Emissions::default();
        out.reasoning(&reasoning);
        match &mut self.calls {
            Some(calls) => calls.push(&answer, &mut out),
            None => out.text(&answer),
        }
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::super::ThoughtTags;
    use super::super::tests::{golden_tokenizer, joined};
    use super::*;

    /// Pushes a text's tokens until a stop string, as an engine does, and joins neighbouring texts.
    fn reply(text: &str, stops: &[&str], form: ReplyForm) -> (Vec<Emission>, bool) {
        let tokenizer = golden_tokenizer();
        let tokens = tokenizer.encode(text).unwrap();
        let mut output = Output::new(tokenizer, stops.iter().map(ToString::to_string).collect(), form);
        let mut emissions: Vec<Emission> = Vec::new();
        for token in tokens {
            emissions.extend(output.push(token));
            if output.matched_stop().is_some() {
                break;
            }
        }
        emissions.extend(output.finish());
        (joined(emissions), output.matched_stop().is_some())
    }

    fn text(text: &str) -> Emission {
        Emission::Text(text.to_owned())
    }

    fn calls_in(form: ToolForm) -> ReplyForm {
        ReplyForm { calls: Calls::In(form, Tools::default()), ..ReplyForm::TEXT }
    }

    fn calls() -> ReplyForm {
        calls_in(ToolForm::Hermes)
    }

    const CALL: &str =
        "I look.\n<tool_call>\n{\"name\": \"clock\", \"arguments\": {\"zone\": \"天气 😀\"}}\n</tool_call>";

    #[test]
    fn text_and_calls_come_out_of_tokens() {
        let begin = Emission::CallBegin { name: "clock".into() };
        let arguments = Emission::Arguments("{\"zone\": \"天气 😀\"}".into());
        let expected = vec![text("I look."), begin, arguments, Emission::CallEnd];
        assert_eq!(reply(CALL, &[], calls()), (expected, false));
    }

    #[test]
    fn calls_are_text_if_nobody_looks_for_them() {
        assert_eq!(reply(CALL, &[], ReplyForm::TEXT), (vec![text(CALL)], false));
    }

    #[test]
    fn a_stop_string_ends_the_reply_before_it() {
        assert_eq!(
            reply("The gate is shut. It opens.", &["shut. It"], ReplyForm::TEXT),
            (vec![text("The gate is ")], true)
        );
    }

    #[test]
    fn a_stop_string_within_a_call_leaves_the_text_that_was_written() {
        let (emissions, stopped) = reply(CALL, &["\"arguments\""], calls());
        assert_eq!(emissions, [text("I look.\n<tool_call>\n{\"name\": \"clock\", ")]);
        assert!(stopped);
    }

    #[test]
    fn a_stop_string_that_only_began_is_shown_at_the_end() {
        assert_eq!(reply("The gate is", &["isn't"], calls()), (vec![text("The gate is")], false));
    }

    #[test]
    fn thoughts_come_before_the_answer_and_call_nothing() {
        let form = ReplyForm { thinking: Thinking::Possible(ThoughtTags::THINK), ..calls() };
        let thought = Emission::Reasoning(format!("天 {CALL}"));
        let written = format!("<think>\n天 {CALL}\n</think>\n\nIt is 😀.");
        assert_eq!(reply(&written, &[], form), (vec![thought, text("It is 😀.")], false));
    }

    #[test]
    fn special_tokens_are_not_shown() {
        assert_eq!(reply("hi<|im_end|>", &[], ReplyForm::TEXT), (vec![text("hi")], false));
    }

    #[test]
    fn a_reply_in_tokens_is_what_its_text_is_in_every_form() {
        for form in ToolForm::ALL {
            for written in crate::text::calls::tests::replies_of(form) {
                let expected = crate::text::calls::tests::parse(form, [written.as_str()]);
                let calls = Calls::In(form, crate::text::calls::tests::tools());
                let (emissions, _) = reply(&written, &[], ReplyForm { calls, ..ReplyForm::TEXT });
                assert_eq!(emissions, expected, "{form:?} {written}");
            }
        }
    }

    #[test]
    fn the_text_of_a_special_token_is_there_for_who_looks_for_it() {
        let mut detokenizer = Detokenizer::new(golden_tokenizer()).showing(["<|im_end|>", "nothing"]);
        let tokens = golden_tokenizer().encode("你<|im_end|><|im_start|> a").unwrap();
        let mut text: String = tokens.into_iter().map(|token| detokenizer.push(token)).collect();
        text.push_str(&detokenizer.finish());
        assert_eq!(text, "你<|im_end|> a");
    }

    #[test]
    fn an_empty_reply_has_no_emissions() {
        assert_eq!(reply("", &["x"], calls()), (vec![], false));
    }
}
