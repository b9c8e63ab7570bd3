//! A Python literal to JSON, a character at a time: `{'a': (1, True)}` is `{"a": [1, true]}`.

use super::super::Emissions;
use super::super::values::escaped;

/// The value of an argument, as far as it was written.
#[derive(Debug, Default)]
pub(super) struct Literal {
    /// What closes the brackets that are open, in Python.
    open: Vec<char>,
    place: Place,
    /// A number or a name.
    word: String,
}

#[derive(Debug, Default)]
enum Place {
    #[default]
    Outside,
    /// In a string that ends at this quote.
    Within(char),
    /// Behind a backslash in it.
    Escape(char),
    /// In a character's number: how many digits are left, and the digits.
    Code(char, usize, String),
}

/// How a literal goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// With more of it.
    More,
    /// It is over, and another argument may follow.
    Next,
    /// It is over, and the call is.
    End,
}

impl Literal {
    /// Takes the next character.
    pub(super) fn take(&mut self, character: char, out: &mut Emissions) -> Taken {
        match std::mem::take(&mut self.place) {
            Place::Outside => return self.take_outside(character, out),
            Place::Within(quote) if character == quote => out.arguments("\""),
            Place::Within(quote) if character == '\\' => self.place = Place::Escape(quote),
            Place::Within(quote) => {
                out.arguments(&escaped(character.encode_utf8(&mut [0; 4])));
                self.place = Place::Within(quote);
            }
            Place::Escape(quote) => self.take_escape(quote, character, out),
            Place::Code(quote, left, mut digits) => {
                digits.push(character);
                self.place = if left > 1 && character.is_ascii_hexdigit() {
                    Place::Code(quote, left - 1, digits)
                } else {
                    let code = u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32);
                    let code = code.unwrap_or(char::REPLACEMENT_CHARACTER);
                    out.arguments(&escaped(code.encode_utf8(&mut [0; 4])));
                    Place::Within(quote)
                };
            }
        }
        Taken::More
    }

    fn take_escape(&mut self, quote: char, character: char, out: &mut Emissions) {
        self.place = Place::Within(quote);
        match character {
            'n' => out.arguments("\\n"),
            't' => out.arguments("\\t"),
            'r' => out.arguments("\\r"),
            '\n' => {}
            '\\' | '\'' | '"' => out.arguments(&escaped(character.encode_utf8(&mut [0; 4]))),
            'x' => self.place = Place::Code(quote, 2, String::new()),
            'u' => self.place = Place::Code(quote, 4, String::new()),
            'U' => self.place = Place::Code(quote, 8, String::new()),
            // Python keeps the backslash of what it does not know.
            other => {
                out.arguments("\\\\");
                out.arguments(&escaped(other.encode_utf8(&mut [0; 4])));
            }
        }
    }

    fn take_outside(&mut self, character: char, out: &mut Emissions) -> Taken {
        match character {
            '"' | '\'' => {
                self.flush(false, out);
                out.arguments("\"");
                self.place = Place::Within(character);
            }
            '[' | '(' | '{' => {
                self.flush(false, out);
                self.open.push(if character == '{' { '}' } else { ']' });
                out.arguments(if character == '{' { "{" } else { "[" });
            }
            ']' | ')' | '}' => {
                self.flush(false, out);
                match self.open.pop() {
                    Some(close) => out.argument(close),
                    None => return Taken::End,
                }
            }
            ',' => {
                self.flush(false, out);
                if self.open.is_empty() {
                    return Taken::Next;
                }
                out.arguments(", ");
            }
            ':' => {
                self.flush(true, out);
                out.arguments(": ");
            }
            _ if character.is_ascii_whitespace() => self.flush(false, out),
            _ => self.word.push(character),
        }
        Taken::More
    }

    /// Writes the word that ends here.
    fn flush(&mut self, is_key: bool, out: &mut Emissions) {
        let word = std::mem::take(&mut self.word);
        match word.as_str() {
            "" => {}
            _ if is_key => out.arguments(&serde_json::Value::from(word).to_string()),
            "True" | "true" => out.arguments("true"),
            "False" | "false" => out.arguments("false"),
            "None" | "null" => out.arguments("null"),
            number if serde_json::from_str::<serde_json::Number>(number).is_ok() => out.arguments(number),
            // No literal: its text is the best that there is.
            _ => out.arguments(&serde_json::Value::from(word).to_string()),
        }
    }

    /// Ends the reply within the literal.
    pub(super) fn finish(&mut self, out: &mut Emissions) {
        self.flush(false, out);
    }
}
