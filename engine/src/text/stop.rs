//! Ends a text at the first stop string.
//!
//! Text is held back only while it could still become a stop string, and a stop string is never emitted. The
//! match that is complete first wins; of two that are complete at once, the longer. How the text was cut into
//! pieces makes no difference. One Knuth-Morris-Pratt matcher per stop string keeps the work linear in the
//! text, whatever the stop strings are.

/// Looks for stop strings in a text that arrives in pieces.
#[derive(Debug)]
pub(super) struct StopMatcher {
    patterns: Vec<Pattern>,
    /// The end of the text that could still become a stop string; shorter than the longest one.
    held: String,
    /// The stop string that was met.
    met: Option<String>,
}

impl StopMatcher {
    /// Empty stop strings are ignored: they would match before the first letter.
    pub(super) fn new(stops: Vec<String>) -> Self {
        let patterns = stops.into_iter().filter(|stop| !stop.is_empty()).map(Pattern::new).collect();
        Self { patterns, held: String::new(), met: None }
    }

    /// Adds text and returns what may be shown now; after a stop string, whatever comes is dropped.
    pub(super) fn push(&mut self, text: &str) -> String {
        if self.met.is_some() {
            return String::new();
        }
        let pushed_at = self.held.len();
        self.held.push_str(text);
        for (index, byte) in text.bytes().enumerate() {
            let complete = self.patterns.iter_mut().filter_map(|pattern| pattern.advance(byte)).max();
            if let Some(len) = complete {
                self.held.truncate(pushed_at + index + 1);
                self.met = Some(self.held.split_off(pushed_at + index + 1 - len));
                return std::mem::take(&mut self.held);
            }
        }
        // A stop string begins with a whole character, so this cut is between characters.
        let possible = self.patterns.iter().map(|pattern| pattern.matched).max().unwrap_or(0);
        let held = self.held.split_off(self.held.len() - possible);
        std::mem::replace(&mut self.held, held)
    }

    /// The stop string that was met, now or before.
    pub(super) fn matched(&self) -> Option<&str> {
        self.met.as_deref()
    }

    /// Gives what was held back: the text is over, so it became no stop string.
    pub(super) fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }
}

/// One stop string and how much of it the text ends in.
#[derive(Debug)]
struct Pattern {
    bytes: Vec<u8>,
    /// `border[n]`: length of the longest proper prefix of the first `n + 1` bytes that is also their suffix.
    border: Vec<usize>,
    /// Length of the longest prefix that the text so far ends in; less than `bytes.len()`.
    matched: usize,
}

impl Pattern {
    fn new(stop: String) -> Self {
        let bytes = stop.into_bytes();
        let mut border = vec![0; bytes.len()];
        let mut len = 0;
        for index in 1..bytes.len() {
            while len > 0 && bytes[index] != bytes[len] {
                len = border[len - 1];
            }
            len += usize::from(bytes[index] == bytes[len]);
            border[index] = len;
        }
        Self { bytes, border, matched: 0 }
    }

    /// Takes the next byte of the text. Returns the length of the stop string if it ends here.
    fn advance(&mut self, byte: u8) -> Option<usize> {
        while self.matched > 0 && self.bytes[self.matched] != byte {
            self.matched = self.border[self.matched - 1];
        }
        self.matched += usize::from(self.bytes[self.matched] == byte);
        (self.matched == self.bytes.len()).then_some(self.matched)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matcher(stops: &[&str]) -> StopMatcher {
        StopMatcher::new(stops.iter().map(ToString::to_string).collect())
    }

    fn scan_all<'a>(stops: &[&str], pieces: impl IntoIterator<Item = &'a str>) -> (String, Option<String>) {
        let mut matcher = matcher(stops);
        let mut text = String::new();
        for piece in pieces {
            text += &matcher.push(piece);
        }
        text += &matcher.finish();
        (text, matcher.met)
    }

    /// The definition, without any cleverness: the smallest end, then the longest match.
    fn expected(stops: &[&str], text: &str) -> (String, Option<String>) {
        let ends = (1..=text.len()).filter(|&end| text.is_char_boundary(end));
        for end in ends {
            let longest =
                stops.iter().filter(|s| !s.is_empty() && text[..end].ends_with(**s)).max_by_key(|s| s.len());
            if let Some(stop) = longest {
                return (text[..end - stop.len()].to_owned(), Some((*stop).to_owned()));
            }
        }
        (text.to_owned(), None)
    }

    #[test]
    fn text_that_cannot_become_a_stop_string_is_not_held_back() {
        let mut matcher = matcher(&["</s>", "END"]);
        assert_eq!(matcher.push("a < b"), "a < b");
        assert_eq!(matcher.push("EN"), "");
        assert_eq!(matcher.push("E"), "EN");
        assert_eq!(matcher.finish(), "E");
    }

    #[test]
    fn nothing_comes_after_a_stop_string() {
        let mut matcher = matcher(&["END"]);
        assert_eq!(matcher.push("a END b"), "a ");
        assert_eq!(matcher.push("more"), "");
        assert_eq!(matcher.matched(), Some("END"));
        assert_eq!(matcher.finish(), "");
    }

    #[test]
    fn a_failed_match_may_hold_the_start_of_the_real_one() {
        assert_eq!(scan_all(&["aab"], ["a", "a", "a", "b"]), ("a".into(), Some("aab".into())));
        assert_eq!(
            scan_all(&["\n\nUser:"], ["x\n", "\n\n", "User:"]),
            ("x\n".into(), Some("\n\nUser:".into()))
        );
    }

    #[test]
    fn of_two_stop_strings_that_end_together_the_longer_one_is_cut() {
        assert_eq!(scan_all(&["b", "ab"], ["xab"]), ("x".into(), Some("ab".into())));
    }

    #[test]
    fn an_empty_stop_string_stops_nothing() {
        assert_eq!(scan_all(&[""], ["text"]), ("text".into(), None));
    }

    proptest! {
        #[test]
        fn any_split_gives_what_the_definition_gives(
            stops in prop::collection::vec("[abé😀]{0,4}", 0..4),
            pieces in prop::collection::vec("[abé😀]{0,5}", 0..12),
        ) {
            let stops: Vec<&str> = stops.iter().map(String::as_str).collect();
            let pieces: Vec<&str> = pieces.iter().map(String::as_str).collect();
            prop_assert_eq!(scan_all(&stops, pieces.iter().copied()), expected(&stops, &pieces.concat()));
        }
    }
}
