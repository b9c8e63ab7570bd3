//! A shortest text for each combination of patterns that one text can match.
//!
//! The patterns are run side by side as automata: a search over their joint states meets every combination that some
//! text matches. Pure and exact, up to a limit on the states that are looked at.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Most joint states of patterns that are looked at. Ten patterns of the usual form have a few hundred.
const STATES_MAX: usize = 20_000;

/// A pattern, and how a text is compared with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pattern<'p> {
    /// As it is written.
    Exact(&'p str),
    /// In lower case, whatever the case of the text.
    LowerCase(&'p str),
}

impl Pattern<'_> {
    fn text(&self) -> &str {
        match self {
            Self::Exact(text) | Self::LowerCase(text) => text,
        }
    }
}

/// The positions in a pattern that a text read so far can have led to, in order. Those before the last `*` that was
/// reached are left out: whatever leads on from them leads on from the `*` as well.
type Positions = Vec<usize>;

/// A pattern as an automaton.
struct Automaton {
    pattern: Vec<char>,
    folds_case: bool,
}

impl Automaton {
    fn of(pattern: &Pattern<'_>) -> Self {
        let folds_case = matches!(pattern, Pattern::LowerCase(_));
        Self { pattern: pattern.text().chars().collect(), folds_case }
    }

    fn start(&self) -> Positions {
        self.closed(BTreeSet::from([0]))
    }

    fn step(&self, positions: &Positions, character: char) -> Positions {
        let character = if self.folds_case { character.to_ascii_lowercase() } else { character };
        let next = positions.iter().filter_map(|&at| match self.pattern.get(at) {
            Some('*') => Some(at),
            Some(expected) if *expected == character => Some(at + 1),
            _ => None,
        });
        self.closed(next.collect())
    }

    fn accepts(&self, positions: &Positions) -> bool {
        positions.last() == Some(&self.pattern.len())
    }

    /// Adds what is reached without reading, since a `*` may stand for nothing, and drops what does not matter.
    fn closed(&self, mut positions: BTreeSet<usize>) -> Positions {
        let mut next = 0;
        while let Some(&at) = positions.range(next..).next() {
            if self.pattern.get(at) == Some(&'*') {
                positions.insert(at + 1);
            }
            next = at + 1;
        }
        let last_star = positions.iter().rev().copied().find(|&at| self.pattern.get(at) == Some(&'*'));
        positions.into_iter().filter(|&at| last_star.is_none_or(|star| at >= star)).collect()
    }
}

/// Returns a shortest text, never the empty one, for each combination of `patterns` that one text can match; nothing if
/// there is too much to look at.
///
/// The empty text matches what a text of an unmentioned character matches, so nothing is lost with it.
pub(super) fn texts(patterns: &BTreeSet<Pattern<'_>>) -> Option<BTreeSet<String>> {
    let automata: Vec<Automaton> = patterns.iter().map(Automaton::of).collect();
    let alphabet = alphabet(patterns);
    let start: Vec<Positions> = automata.iter().map(Automaton::start).collect();
    let mut seen = BTreeSet::from([start.clone()]);
    let mut queue = VecDeque::from([(start, String::new())]);
    let mut found: BTreeMap<Vec<bool>, String> = BTreeMap::new();
    while let Some((state, text)) = queue.pop_front() {
        for &character in &alphabet {
            let next: Vec<Positions> =
                automata.iter().zip(&state).map(|(automaton, at)| automaton.step(at, character)).collect();
            let text = format!("{text}{character}");
            let matched = automata.iter().zip(&next).map(|(automaton, at)| automaton.accepts(at)).collect();
            found.entry(matched).or_insert_with(|| text.clone());
            if seen.insert(next.clone()) {
                if seen.len() > STATES_MAX {
                    return None;
                }
                queue.push_back((next, text));
            }
        }
    }
    Some(found.into_values().collect())
}

/// The characters that the patterns mention, and one that stands for all others.
fn alphabet(patterns: &BTreeSet<Pattern<'_>>) -> BTreeSet<char> {
    let mut alphabet = BTreeSet::new();
    for pattern in patterns {
        for character in pattern.text().chars().filter(|character| *character != '*') {
            alphabet.insert(character);
            if let Pattern::LowerCase(_) = pattern {
                alphabet.insert(character.to_ascii_uppercase());
            }
        }
    }
    let mentioned = alphabet.clone();
    alphabet.extend(('a'..=char::MAX).find(|character| !mentioned.contains(character)));
    alphabet
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::glob::Glob;

    proptest! {
        #[test]
        fn every_combination_of_patterns_that_a_text_matches_has_an_example(
            exact in prop::collection::btree_set("[aB*]{1,4}", 0..3),
            folded in prop::collection::btree_set("[ab*]{1,3}", 0..3),
            text in "[abcAB*]{1,7}",
        ) {
            let patterns = exact.iter().map(|text| Pattern::Exact(text));
            let patterns: BTreeSet<_> = patterns.chain(folded.iter().map(|text| Pattern::LowerCase(text))).collect();
            let matched = |text: &str| -> Vec<bool> {
                let matches = |pattern: &Pattern<'_>| match pattern {
                    Pattern::Exact(pattern) => Glob::new(pattern).matches(text),
                    Pattern::LowerCase(pattern) => Glob::new(pattern).matches(&text.to_ascii_lowercase()),
                };
                patterns.iter().map(matches).collect()
            };
            let examples = texts(&patterns).expect("a few short patterns");
            prop_assert!(examples.iter().any(|example| matched(example) == matched(&text)), "{examples:?}");
        }
    }

    #[test]
    fn the_example_of_a_pattern_is_its_shortest_text() {
        let examples =
            texts(&BTreeSet::from([Pattern::Exact("claude-*"), Pattern::Exact("*-mini")])).unwrap();
        let expected = ["-", "-mini", "claude-", "claude-mini"].map(str::to_owned);
        assert_eq!(examples, BTreeSet::from(expected));
    }
}
