//! Parts what a model thinks from what it answers, as it streams:
//!
//! ```text
//! <think>
//! They ask for the time.
//! </think>
//!
//! It is noon.
//! ```
//! Some models have tags of their own ([`ThoughtTags`]). A pure state machine: how the text was cut into pieces makes no difference. A block counts only at the start of a
//! reply, so an answer may speak of the tags. The white space around the tags is the form's and is dropped. A block
//! that is not closed is all thought.

/// White space before the closing tag is the form's; up to this many bytes of it are dropped.
const SPACE_BYTES_MAX: usize = 64;

/// What is around a model's thoughts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ThoughtTags {
    /// What begins a block, where the prompt did not.
    pub(crate) open: &'static str,
    /// What ends it.
    pub(crate) close: &'static str,
}

impl ThoughtTags {
    /// Of most models.
    pub(crate) const THINK: Self = Self { open: "<think>", close: "</think>" };
    /// Of Mistral's.
    pub(crate) const MISTRAL: Self = Self { open: "[THINK]", close: "[/THINK]" };

    /// The tags that a chat template speaks of.
    pub(crate) fn in_templates(templates: &[&str]) -> Option<Self> {
        let is_written = |tags: &Self| templates.iter().any(|template| template.contains(tags.close));
        [Self::THINK, Self::MISTRAL].into_iter().find(is_written)
    }
}

/// Whether a model thinks before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thinking {
    /// It does not, or its text is not looked at.
    Never,
    /// It may begin to.
    Possible(ThoughtTags),
    /// The prompt ends in the tag, so that the reply begins in the block.
    Begun(ThoughtTags),
}

impl Thinking {
    /// What is around the thoughts, if there may be some.
    pub(crate) fn tags(self) -> Option<ThoughtTags> {
        match self {
            Self::Never => None,
            Self::Possible(tags) | Self::Begun(tags) => Some(tags),
        }
    }
}

/// Splits a reply into thoughts and answer.
#[derive(Debug)]
pub(super) struct ReasoningParser {
    tags: ThoughtTags,
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
        let (state, tags) = match thinking {
            Thinking::Never => (State::Answer, ThoughtTags::THINK),
            Thinking::Possible(tags) => (State::Start, tags),
            Thinking::Begun(tags) => (State::Begun, tags),
        };
        Self { tags, state, buffer: String::new() }
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
                if word.starts_with(self.tags.open) {
                    self.buffer.drain(..self.buffer.len() - word.len() + self.tags.open.len());
                    self.state = State::Begun;
                } else if self.tags.open.starts_with(word) {
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
        let close = self.tags.close;
        let tag = self.buffer.find(close);
        let partial =
            || (1..close.len()).rev().find(|&len| self.buffer.ends_with(&close[..len])).unwrap_or(0);
        let end = tag.unwrap_or_else(|| self.buffer.len() - partial());
        let spaces =
            self.buffer[..end].bytes().rev().take(SPACE_BYTES_MAX).take_while(u8::is_ascii_whitespace);
        let end = end - spaces.count();
        parted.reasoning.push_str(&self.buffer[..end]);
        let Some(tag) = tag else {
            self.buffer.drain(..end);
            return false;
        };
        self.buffer.drain(..tag + close.len());
        self.state = State::Ended;
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POSSIBLE: Thinking = Thinking::Possible(ThoughtTags::THINK);
    const BEGUN: Thinking = Thinking::Begun(ThoughtTags::THINK);
    const OPEN: &str = ThoughtTags::THINK.open;
    const CLOSE: &str = ThoughtTags::THINK.close;

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
            (POSSIBLE, "<think>\nHm.\n</think>\n\nNoon. ", "Hm.", "Noon. "),
            (POSSIBLE, "\n<think>Hm, </thin and <think>.</think>Noon", "Hm, </thin and <think>.", "Noon"),
            (POSSIBLE, "<think>\n\n</think>\n\nNoon", "", "Noon"),
            (POSSIBLE, "Say <think>a</think>", "", "Say <think>a</think>"),
            (POSSIBLE, " <thin", "", " <thin"),
            (POSSIBLE, "<think>Hm\n </thi", "Hm\n </thi", ""),
            (BEGUN, "\nHm.\n</think>\nNoon</think>", "Hm.", "Noon</think>"),
            (BEGUN, "Hm. ", "Hm. ", ""),
            (Thinking::Never, "<think>Hm.</think>", "", "<think>Hm.</think>"),
            (
                Thinking::Possible(ThoughtTags::MISTRAL),
                "[THINK]Hm </think>.[/THINK]Noon",
                "Hm </think>.",
                "Noon",
            ),
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
            let thinking = if begun { BEGUN } else { POSSIBLE };
            let whole = parse(thinking, [reply.as_str()]);
            prop_assert_eq!(parse(thinking, fragments.iter().map(String::as_str)), whole.clone());
            let characters = reply.char_indices().map(|(at, c)| &reply[at..at + c.len_utf8()]);
            prop_assert_eq!(parse(thinking, characters), whole);
        }
    }
}
