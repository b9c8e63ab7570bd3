//! Texts as grammars write them. A marker that the vocabulary calls a special token is that token, since no text spells
//! one; every other text is as JSON writes it.

use serde_json::Value;

use crate::text::{Thinking, ThoughtTags, Tokenizer};

/// How one model's vocabulary has a grammar written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spelling<'a> {
    tokenizer: &'a Tokenizer,
}

impl<'a> Spelling<'a> {
    pub(super) fn new(tokenizer: &'a Tokenizer) -> Self {
        Self { tokenizer }
    }

    /// The terms for a text in which there may be some of these markers.
    pub(super) fn terms(self, text: &str, markers: &[&str]) -> String {
        let found = markers.iter().filter_map(|marker| {
            let token = self.tokenizer.special(marker)?;
            Some((text.find(marker)?, marker.len(), token))
        });
        let Some((at, len, token)) = found.min() else { return literal(text) };
        let mut terms = vec![format!("<[{token}]>")];
        if at > 0 {
            terms.insert(0, literal(&text[..at]));
        }
        if at + len < text.len() {
            terms.push(self.terms(&text[at + len..], markers));
        }
        terms.join(" ")
    }

    /// A rule for the shortest text that ends in this.
    pub(super) fn until(self, rule: &str, end: &str) -> String {
        let marker = end.trim_ascii();
        if self.is_special(marker) {
            format!("{rule}: /(.|\\n)+/? {}", self.terms(end, &[marker]))
        } else {
            format!("{rule}[lazy]: /(.|\\n)*{}/", escaped(end))
        }
    }

    /// An expression for text in which this does not stand.
    pub(super) fn without(self, marker: &str) -> String {
        match self.tokenizer.special(marker) {
            Some(_) => "/(.|\\n)+/".to_owned(),
            None => format!("/(.|\\n)*/ & ~/(.|\\n)*{}(.|\\n)*/", escaped(marker)),
        }
    }

    /// Whether the vocabulary has a token for this.
    pub(super) fn has(self, text: &str) -> bool {
        self.tokenizer.token(text).is_some()
    }

    /// Whether no text spells this.
    pub(super) fn is_special(self, text: &str) -> bool {
        self.tokenizer.special(text).is_some()
    }

    /// A grammar of what a model thinks, and then the one that is called `form`; `None` if it does not think.
    pub(super) fn thought(self, thinking: Thinking) -> Option<String> {
        let (start, ThoughtTags { open, close }) = match thinking {
            Thinking::Never => return None,
            Thinking::Possible(tags) => ("start: (open thought)? @form", tags),
            Thinking::Begun(tags) => ("start: thought @form", tags),
        };
        let mut lines = vec![start.to_owned()];
        if matches!(thinking, Thinking::Possible(_)) {
            lines.push(format!("open: {}", self.terms(open, &[open])));
        }
        // The shortest text that ends in the tag, then the line ends that models put there.
        lines.push("thought: block GAP".to_owned());
        lines.push(self.until("block", close));
        lines.push("GAP: /\\n{0,2}/".to_owned());
        Some(lines.join("\n"))
    }
}

/// A text as grammars write it.
pub(super) fn literal(text: &str) -> String {
    Value::from(text).to_string()
}

/// A text as expressions write it.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            _ if character.is_ascii_punctuation() && !"_<>-:=\"'`".contains(character) => {
                escaped.push('\\');
                escaped.push(character);
            }
            _ => escaped.push(character),
        }
    }
    escaped
}
