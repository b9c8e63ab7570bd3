//! Drafts by prompt lookup: what followed the last few tokens the last time they stood here is likely to follow again.
//!
//! Agents repeat their input: they quote the file that they edit and call the tool that they called before. A draft costs a
//! few more tokens in a step and saves whole steps if it is right; whether it is right is seen when the model has read it,
//! so it never changes a reply (lossless speculative decoding; Saxena, "Prompt Lookup Decoding", 2023).
//!
//! How much is drafted follows how much was right: twice as much after a draft that was right to its end, as far as it was
//! right otherwise, and after one that was wrong from its first token nothing for a while, each time for longer.

use std::collections::HashMap;

/// Tokens that have to stand somewhere before, one after the other, for what followed them to be a draft.
const GRAM: usize = 3;

/// The longest draft in tokens.
const DRAFT_MAX: usize = 8;

/// The longest pause in steps.
const PAUSE_MAX: u32 = 32;

/// The drafts of one sequence.
#[derive(Debug)]
pub(crate) struct Lookup {
    /// Where each run of [`GRAM`] tokens ended last, the run at the end of the text left out.
    ends: HashMap<[u32; GRAM], usize>,
    /// Tokens whose runs are in `ends`.
    seen: usize,
    /// How much is drafted next.
    len: usize,
    /// Steps until then, and after the next failure.
    pause: u32,
    next_pause: u32,
}

impl Default for Lookup {
    fn default() -> Self {
        Self { ends: HashMap::new(), seen: GRAM - 1, len: 2, pause: 0, next_pause: 1 }
    }
}

impl Lookup {
    /// What may follow `tokens`, at most `max` tokens; often nothing. A draft that reaches the end of the text goes on as if
    /// the text repeated itself.
    pub(crate) fn draft(&mut self, tokens: &[u32], max: usize) -> Vec<u32> {
        if self.pause > 0 {
            self.pause -= 1;
            return Vec::new();
        }
        while self.seen + 1 < tokens.len() {
            self.seen += 1;
            self.ends.insert(gram(&tokens[..self.seen]), self.seen);
        }
        if tokens.len() < GRAM {
            return Vec::new();
        }
        let Some(&end) = self.ends.get(&gram(tokens)) else { return Vec::new() };
        tokens[end..].iter().copied().cycle().take(self.len.min(max)).collect()
    }

    /// Learns how many tokens of a draft were right.
    pub(crate) fn learn(&mut self, drafted: usize, right: usize) {
        if drafted == 0 {
            return;
        }
        if right == 0 {
            self.pause = self.next_pause;
            self.next_pause = (self.next_pause * 2).min(PAUSE_MAX);
        } else {
            self.next_pause = 1;
        }
        self.len = if right == drafted { (self.len * 2).min(DRAFT_MAX) } else { right.max(1) };
    }
}

/// The last tokens of `tokens`, of which there are enough.
fn gram(tokens: &[u32]) -> [u32; GRAM] {
    *tokens.last_chunk().expect("there are enough tokens")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drafted(text: &[u32], max: usize) -> Vec<u32> {
        Lookup { len: DRAFT_MAX, ..Lookup::default() }.draft(text, max)
    }

    #[test]
    fn what_followed_the_last_time_is_drafted() {
        let text = [1, 2, 3, 4, 5, 9, 1, 2, 3, 7, 8, 1, 2, 3];
        assert_eq!(drafted(&text, 2), [7, 8]);
        assert_eq!(drafted(&text, 8), [7, 8, 1, 2, 3, 7, 8, 1], "as if it repeated itself");
        assert_eq!(drafted(&[4, 4, 4, 4], 3), [4; 3]);
        assert!(drafted(&text[..11], 8).is_empty() && drafted(&[1, 1], 8).is_empty());
    }

    #[test]
    fn a_text_that_grows_is_read_once() {
        let text = [1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3];
        let mut lookup = Lookup { len: DRAFT_MAX, ..Lookup::default() };
        for end in 1..=text.len() {
            assert_eq!(lookup.draft(&text[..end], 8), drafted(&text[..end], 8), "{end}");
        }
    }

    #[test]
    fn drafts_grow_while_they_are_right_and_pause_when_they_are_wrong() {
        let mut lookup = Lookup::default();
        let mut lens = Vec::new();
        for right in [2, 4, 3, 3] {
            let drafted = lookup.draft(&[5; 64], 8).len();
            lens.push(drafted);
            lookup.learn(drafted, right);
        }
        assert_eq!(lens, [2, 4, 8, 3]);
        for pause in [1, 2, 4] {
            while lookup.draft(&[5; 64], 8).is_empty() {}
            lookup.learn(6, 0);
            assert_eq!((lookup.len, lookup.pause), (1, pause));
        }
        lookup.learn(0, 0);
        assert_eq!(lookup.pause, 4, "where nothing was drafted there is nothing to learn");
    }
}
