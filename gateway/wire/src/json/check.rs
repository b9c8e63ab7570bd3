//! The one pass that every body takes before anything else looks at it.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};

use super::Path;

/// Bounds on what a document may cost its readers.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most objects and lists that may stand inside each other; at most 100 is honoured.
    pub depth_max: usize,
    /// Most values in the whole document, containers included.
    pub values_max: usize,
}

impl Default for Limits {
    /// A request of a coding agent is about 6 levels deep and has some thousand values; a parsed
    /// value takes up to 100 bytes, so the second limit holds a body to some 50 MB of memory.
    fn default() -> Self {
        Self { depth_max: 64, values_max: 500_000 }
    }
}

/// A place in the text of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line, counted from 1.
    pub line: usize,
    /// Byte within the line, counted from 1; 0 at the start of a line.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {} column {}", self.line, self.column)
    }
}

/// Why a document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not one valid JSON document.
    #[error("{reason} at {at}")]
    Syntax {
        /// What the parser expected or met.
        reason: String,
        /// Where.
        at: Position,
    },
    /// An object has one key twice.
    #[error("the key `{path}` appears twice, second time at {at}")]
    DuplicateKey {
        /// Path of the key from the root.
        path: Path,
        /// Where its second appearance ends.
        at: Position,
    },
    /// Objects and lists are nested too deeply.
    #[error("nesting is deeper than {depth_max} levels at {at}")]
    TooDeep {
        /// The limit.
        depth_max: usize,
        /// Where it was exceeded.
        at: Position,
    },
    /// The document has too many values.
    #[error("the document has more than {values_max} values, reached at {at}")]
    TooMany {
        /// The limit.
        values_max: usize,
        /// Where it was exceeded.
        at: Position,
    },
}

/// Accepts `bytes` if they are one strictly valid JSON document within `limits`.
///
/// # Errors
/// Returns the first fault met, reading from the start.
pub fn check(bytes: &[u8], limits: Limits) -> Result<(), JsonError> {
    // The parser guards its own stack at 128 levels; below that, our limit speaks first.
    let limits = Limits { depth_max: limits.depth_max.min(100), ..limits };
    let mut state = State { limits, values: 0, fault: None };
    let mut parser = serde_json::Deserializer::from_slice(bytes);
    let outcome =
        Checked { state: &mut state, depth: 0 }.deserialize(&mut parser).and_then(|()| parser.end());
    outcome.map_err(|error| state.explain(&error))
}

struct State {
    limits: Limits,
    values: usize,
    fault: Option<Fault>,
}

/// A fault that the parser itself does not know; parser errors carry only text.
enum Fault {
    Duplicate(Path),
    TooDeep,
    TooMany,
}

impl State {
    fn explain(self, error: &serde_json::Error) -> JsonError {
        let at = Position { line: error.line(), column: error.column() };
        match self.fault {
            Some(Fault::Duplicate(path)) => JsonError::DuplicateKey { path, at },
            Some(Fault::TooDeep) => JsonError::TooDeep { depth_max: self.limits.depth_max, at },
            Some(Fault::TooMany) => JsonError::TooMany { values_max: self.limits.values_max, at },
            None => JsonError::Syntax { reason: without_position(error), at },
        }
    }
}

/// The parser appends the position to its text; ours stands in a field of its own.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let suffix = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&suffix).map(str::to_owned).unwrap_or(text)
}

/// Reads one value and keeps nothing of it.
struct Checked<'s> {
    state: &'s mut State,
    /// Containers around this value.
    depth: usize,
}

impl Checked<'_> {
    fn enter<E: serde::de::Error>(&mut self) -> Result<(), E> {
        if self.depth == self.state.limits.depth_max {
            self.state.fault = Some(Fault::TooDeep);
            return Err(E::custom("nesting"));
        }
        self.depth += 1;
        Ok(())
    }

    fn child(&mut self) -> Checked<'_> {
        Checked { state: self.state, depth: self.depth }
    }
}

impl<'de> DeserializeSeed<'de> for Checked<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.state.values += 1;
        if self.state.values > self.state.limits.values_max {
            self.state.fault = Some(Fault::TooMany);
            return Err(D::Error::custom("values"));
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        self.enter()?;
        for index in 0.. {
            match list.next_element_seed(self.child()) {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(error) => {
                    if let Some(Fault::Duplicate(path)) = &mut self.state.fault {
                        path.prepend_index(index);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut object: A) -> Result<(), A::Error> {
        self.enter()?;
        let mut seen = Seen::default();
        while let Some(key) = object.next_key_seed(Key)? {
            if !seen.insert(key.clone()) {
                let mut path = Path::default();
                path.prepend_key(&key);
                self.state.fault = Some(Fault::Duplicate(path));
                return Err(A::Error::custom("duplicate"));
            }
            if let Err(error) = object.next_value_seed(self.child()) {
                if let Some(Fault::Duplicate(path)) = &mut self.state.fault {
                    path.prepend_key(&key);
                }
                return Err(error);
            }
        }
        Ok(())
    }
}

/// Most keys that are compared one by one; more are looked up. Nearly all objects of requests have fewer.
const COMPARED_MAX: usize = 12;

/// The keys of one object.
#[derive(Default)]
struct Seen<'de> {
    few: Vec<Cow<'de, str>>,
    many: HashSet<Cow<'de, str>>,
}

impl<'de> Seen<'de> {
    /// Notes `key`; returns whether it is new.
    fn insert(&mut self, key: Cow<'de, str>) -> bool {
        if self.few.contains(&key) {
            return false;
        }
        if self.few.len() < COMPARED_MAX {
            self.few.push(key);
            return true;
        }
        self.many.insert(key)
    }
}

/// Reads one key, borrowed from the document unless it holds escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}
