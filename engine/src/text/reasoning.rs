//! Parts what a model thinks from what it answers, as it streams:
//!
//! ```text
//! <think>
//! They ask for the time.
//! </think>
//!
//! It is noon.
//! ```
//! A pure state machine: how the text was cut into pieces makes no difference. A block counts only at the start of a
//! reply, so an answer may speak of the tags. The white space around the tags is the form's and is dropped. A block
//! that is not closed is all thought.

/// What begins a block, where the prompt did not.
pub(crate) const OPEN: &str = "<think>";
/// What ends it.
pub(crate) const CLOSE: &str = "</think>";
/// White space before the closing tag is the form's; up to this many bytes of it are dropped.
const SPACE_BYTES_MAX: usize = 64;

/// Whether a model thinks before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thinking {
    /// It does not, or its text is not looked at.
    Never,
    /// It may begin to.
    Possible,
    /// The prompt ends in the tag, so that the reply begins in the block.
    Begun,
}

/// Splits a reply into thoughts and answer.
#[derive(Debug)]
pub(super) struct ReasoningParser {
    state: State,
    /// What arrived and was not emitted.
    buffer: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Before the first word: the buffer is white space and what may be the start of the tag.
    Start,
    /// After the tag: white space is dropped.
    Begun,
    /// In the block: the buffer is white space and what may be the start of the closing tag.
    Block,
    /// After the block: white space is dropped.
    Ended,
    /// In the answer: the buffer is empty.
    Answer,
}

/// Pieces of a reply: thoughts, then the answer.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Parted {
    pub(super) reasoning: String,
    pub(super) answer: String,
}

impl ReasoningParser {
    pub(super) fn new(thinking: Thinking) -> Self {
        let state = match thinking {
            Thinking::Never => State::Answer,
            Thinking::Possible => State::Start,
            Thinking::Begun => State::Begun,
        };
        Self { state, buffer: String::new() }
    }

    /// Whether what comes next is thought, as far as is known.
    pub(super) fn thinks(&self) -> bool {
        matches!(self.state, State::Begun | State::Block)
    }

    /// Takes the next piece of the reply and returns what is certain by now.
    pub(super) fn push(&mut self, text: &str) -> Parted {
        let mut parted = Parted::default();
        if self.state == State::Answer {
            text.clone_into(&mut parted.answer);
            return parted;
        }
        self.buffer.push_str(text);
        while self.step(&mut parted) {}
        parted
    }

    /// Ends the reply and returns what was held back.
    pub(super) fn finish(&mut self) -> Parted {
        let rest = std::mem::take(&mut self.buffer);
        match self.state {
            State::Block | State::Begun => Parted { reasoning: rest, answer: String::new() },
            State::Start | State::Ended | State::Answer => Parted { reasoning: String::new(), answer: rest },
        }
    }

    /// Goes on to the next state; returns whether the buffer may hold more to do.
    fn step(&mut self, parted: &mut Parted) -> bool {
        match self.state {
            State::Start => {
                let word = self.buffer.trim_ascii_start();
                if word.starts_with(OPEN) {
                    self.buffer.drain(..self.buffer.len() - word.len() + OPEN.len());
                    self.state = State::Begun;
                } else if OPEN.starts_with(word) {
                    return false;
                } else {
                    self.state = State::Answer;
                }
            }
            State::Begun | State::Ended => {
                let spaces = self.buffer.len() - self.buffer.trim_ascii_start().len();
                self.buffer.drain(..spaces);
                if self.buffer.is_empty() {
                    return false;
                }
                self.state = if self.state == State::Begun { State::Block } else { State::Answer };
            }
            State::Block => return self.read_block(parted),
            State::Answer => {
                parted.answer.push_str(&std::mem::take(&mut self.buffer));
                return false;
            }
        }
        true
    }

    /// Emits thoughts up to the closing tag; returns whether there is one.
    fn read_block(&mut self, parted: &mut Parted) -> bool {
        let tag = self.buffer.find(CLOSE);
        let partial =
            || (1..CLOSE.len()).rev().find(|&len| self.buffer.ends_with(&CLOSE[..len])).unwrap_or(0);
        let end = tag.unwrap_or_else(|| self.buffer.len() - partial());
        let spaces =
            self.buffer[..end].bytes().rev().take(SPACE_BYTES_MAX).take_while(u8::is_ascii_whitespace);
        let end = end - spaces.count();
        parted.reasoning.push_str(&self.buffer[..end]);
        let Some(tag) = tag else {
            self.buffer.drain(..end);
            return false;
        };
        self.buffer.drain(..tag + CLOSE.len());
        self.state = State::Ended;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse<'a>(thinking: Thinking, pieces: impl IntoIterator<Item = &'a str>) -> (String, String) {
        let mut parser = ReasoningParser::new(thinking);
        let mut whole = Parted::default();
        let mut add = |parted: Parted| {
            assert!(
                parted.reasoning.is_empty() || whole.answer.is_empty(),
                "no thought comes after the answer"
            );
            whole.reasoning.push_str(&parted.reasoning);
            whole.answer.push_str(&parted.answer);
        };
        pieces.into_iter().for_each(|piece| add(parser.push(piece)));
        add(parser.finish());
        (whole.reasoning, whole.answer)
    }

    #[test]
    fn thoughts_and_answer_are_parted_without_the_space_around_tags() {
        for (thinking, reply, reasoning, answer) in [
            (Thinking::Possible, "<think>\nHm.\n</think>\n\nNoon. ", "Hm.", "Noon. "),
            (
                Thinking::Possible,
                "\n<think>Hm, </thin and <think>.</think>Noon",
                "Hm, </thin and <think>.",
                "Noon",
            ),
            (Thinking::Possible, "<think>\n\n</think>\n\nNoon", "", "Noon"),
            (Thinking::Possible, "Say <think>a</think>", "", "Say <think>a</think>"),
            (Thinking::Possible, " <thin", "", " <thin"),
            (Thinking::Possible, "<think>Hm\n </thi", "Hm\n </thi", ""),
            (Thinking::Begun, "\nHm.\n</think>\nNoon</think>", "Hm.", "Noon</think>"),
            (Thinking::Begun, "Hm. ", "Hm. ", ""),
            (Thinking::Never, "<think>Hm.</think>", "", "<think>Hm.</think>"),
        ] {
            assert_eq!(parse(thinking, [reply]), (reasoning.to_owned(), answer.to_owned()), "{reply:?}");
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_what_the_whole_gives(
            fragments in prop::collection::vec(prop_oneof![
                Just(OPEN.to_owned()), Just(CLOSE.to_owned()), "[</>thinké \n]{0,5}", "[ \n]{60,70}",
            ], 0..8),
            begun in any::<bool>(),
        ) {
            let reply = fragments.concat();
            let thinking = if begun { Thinking::Begun } else { Thinking::Possible };
            let whole = parse(thinking, [reply.as_str()]);
            prop_assert_eq!(parse(thinking, fragments.iter().map(String::as_str)), whole.clone());
            let characters = reply.char_indices().map(|(at, c)| &reply[at..at + c.len_utf8()]);
            prop_assert_eq!(parse(thinking, characters), whole);
        }
    }
}
