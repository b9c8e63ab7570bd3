//! The pattern language of models, tasks and tools: `*` stands for any text, everything else for itself.

/// A pattern over names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Glob(String);

impl Glob {
    /// Keeps `pattern` as it is; every text is a pattern.
    pub(crate) fn new(pattern: &str) -> Self {
        Self(pattern.to_owned())
    }

    /// Returns the pattern as written.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether the whole of `text` matches. Takes time proportional to the text and the pattern: each
    /// piece between stars is taken where it first occurs, which leaves the most room for those behind it.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let Some((head, rest)) = self.0.split_once('*') else { return self.0 == text };
        let Some(mut text) = text.strip_prefix(head) else { return false };
        let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
        for piece in middle.split('*') {
            let Some(start) = text.find(piece) else { return false };
            text = &text[start + piece.len()..];
        }
        text.ends_with(tail)
    }

    /// Returns whether every text that `other` matches is matched by this pattern.
    ///
    /// One text tells: that in which a letter of neither pattern stands for each star of `other`. Where it matches,
    /// stars of this pattern take those letters, and would take any text in their place. So several patterns cover
    /// another one together only if one of them does alone.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        let is_strange = |letter: &char| !self.0.contains(*letter);
        let strange =
            ('\u{e000}'..=char::MAX).find(is_strange).expect("a pattern has fewer letters than there are");
        self.matches(&other.0.replace('*', &strange.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The definition, without the thought for time.
    fn model(pattern: &[u8], text: &[u8]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some((b'*', rest)) => (0..=text.len()).any(|skip| model(rest, &text[skip..])),
            Some((byte, rest)) => text.split_first().is_some_and(|(t, text)| t == byte && model(rest, text)),
        }
    }

    proptest! {
        #[test]
        fn a_glob_matches_as_its_definition_says(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            let expected = model(pattern.as_bytes(), text.as_bytes());
            prop_assert_eq!(Glob::new(&pattern).matches(&text), expected);
        }
    }

    proptest! {
        #[test]
        fn a_pattern_covers_what_matches_nothing_else(wide in "[ab*]{0,6}", narrow in "[ab*]{0,6}") {
            let (wide, narrow) = (Glob::new(&wide), Glob::new(&narrow));
            let texts = (0..8_u32).flat_map(|length| (0..3_u32.pow(length)).map(move |number| {
                let letter = |place| ['a', 'b', 'c'][(number / 3_u32.pow(place) % 3) as usize];
                (0..length).map(letter).collect::<String>()
            }));
            let escapes = texts.filter(|text| narrow.matches(text)).any(|text| !wide.matches(&text));
            prop_assert_eq!(wide.covers(&narrow), !escapes);
        }
    }

    #[test]
    fn a_star_spans_any_text_and_nothing_else_is_special() {
        assert!(Glob::new("opus*").matches("opus"));
        assert!(Glob::new("*").matches(""));
        assert!(!Glob::new("a*a").matches("a"), "the ends may not share a letter");
        assert!(!Glob::new("gpt-?").matches("gpt-4"));
        assert!(!Glob::new("[ab]").matches("a"));
        assert!(!Glob::new("").matches("a"));
    }
}
