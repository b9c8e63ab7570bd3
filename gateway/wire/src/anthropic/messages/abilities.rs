//! What a model accepts of the API, worked out from its name.
//!
//! The API refuses what a generation of models doesn't have instead of ignoring it: sampling parameters since 4.7,
//! budgets for thinking since 4.7, forced tools where thinking cannot be turned off, effort before 4.6. Callers of
//! other dialects send such parameters as a matter of course, so they are left out, and reported, where they would
//! fail the call. Facts: the API's pages on thinking, effort, structured outputs, and its migration guides.
//!
//! A name without `claude` is another company's model behind the same API; a `claude` of unknown version is taken for
//! the newest.

use crate::call::Effort;

/// How a model is told to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// It cannot think.
    Never,
    /// With a budget in tokens; it does not think unless told to.
    Budget,
    /// As it sees fit, guided by effort; it does not think unless told to.
    Adaptive,
    /// The same, but it thinks unless told not to.
    AdaptiveByDefault,
    /// The same, and it cannot be told not to. Such models also refuse to be forced to use a tool.
    Always,
}

/// What a model accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Abilities {
    pub(crate) form: Form,
    /// The words for effort that it knows.
    pub(crate) efforts: &'static [Effort],
    pub(crate) sampling: Sampling,
    pub(crate) schemas: Schemas,
    /// Most tokens of an answer, where that is settled; newer generations are not clamped.
    pub(crate) max_tokens: Option<u32>,
}

/// Whether `temperature`, `top_p` and `top_k` may be said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sampling {
    /// All of them.
    All,
    /// All of them, but `temperature` and `top_p` not together.
    One,
    /// None.
    None,
}

/// Whether an answer, or the arguments of a tool, can be made to follow a JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Schemas {
    Followed,
    Unknown,
}

/// Version of a generation: 4.5 is `(4, 5)`.
pub(crate) type Version = (u32, u32);

const NEWEST: Version = (u32::MAX, 0);

impl Abilities {
    /// Works out what the model `name` accepts, whichever way its host writes the name.
    pub(crate) fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let Some(start) = name.find("claude") else { return Self::of_another_company() };
        let name = &name[start..];
        let version = version(name).unwrap_or(NEWEST);
        Self {
            form: form(name, version),
            efforts: efforts(version),
            sampling: match version {
                (..=3, _) | (4, ..=4) => Sampling::All,
                (4, 5..=6) => Sampling::One,
                _ => Sampling::None,
            },
            schemas: if version >= (4, 5) { Schemas::Followed } else { Schemas::Unknown },
            max_tokens: max_tokens(name, version),
        }
    }

    fn of_another_company() -> Self {
        Self {
            form: Form::Budget,
            efforts: &[],
            sampling: Sampling::All,
            schemas: Schemas::Followed,
            max_tokens: None,
        }
    }

    /// Returns the word for effort that comes closest to `wanted` from below, or else the least.
    pub(crate) fn effort(&self, wanted: Effort) -> Option<Effort> {
        let fitting = self.efforts.iter().rev().find(|effort| **effort <= wanted);
        fitting.or(self.efforts.first()).copied()
    }
}

/// Reads the version out of names such as `claude-opus-4-1-20250805`, `claude-3-7-sonnet@20250219` and
/// `claude-sonnet-4.5`; the date is no part of it.
pub(crate) fn version(name: &str) -> Option<Version> {
    let mut numbers = name
        .split(|character: char| !character.is_ascii_alphanumeric())
        .skip_while(|part| !is_number(part))
        .map_while(|part| if is_number(part) { part.parse::<u32>().ok() } else { None });
    let major = numbers.next()?;
    Some((major, numbers.next().unwrap_or_default()))
}

fn is_number(part: &str) -> bool {
    (1..=2).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
}

fn form(name: &str, version: Version) -> Form {
    if ["fable", "mythos"].iter().any(|family| name.contains(family)) {
        return Form::Always;
    }
    match version {
        (..=2, _) | (3, ..=6) => Form::Never,
        (3, _) | (4, ..=5) => Form::Budget,
        (4, _) => Form::Adaptive,
        (5, 0) => Form::AdaptiveByDefault,
        _ => Form::Always,
    }
}

fn efforts(version: Version) -> &'static [Effort] {
    match version {
        (..=3, _) | (4, ..=5) => &[],
        (4, 6) => &[Effort::Low, Effort::Medium, Effort::High, Effort::Max],
        _ => &[Effort::Low, Effort::Medium, Effort::High, Effort::XHigh, Effort::Max],
    }
}

fn max_tokens(name: &str, version: Version) -> Option<u32> {
    match version {
        (..=2, _) | (3, ..=4) => Some(4096),
        (3, ..=6) => Some(8192),
        (4, ..=1) if name.contains("opus") => Some(32_000),
        (3, _) | (4, ..=5) => Some(64_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Abilities, Form, Sampling, version};
    use crate::call::Effort;

    #[test]
    fn versions_are_read_from_the_names_of_every_host() {
        let names = [
            ("claude-3-haiku-20240307", (3, 0)),
            ("claude-3-5-sonnet-v2@20241022", (3, 5)),
            ("claude-3-7-sonnet@20250219", (3, 7)),
            ("claude-sonnet-4-20250514", (4, 0)),
            ("claude-opus-4@20250514", (4, 0)),
            ("claude-opus-4-1-20250805", (4, 1)),
            ("claude-opus-4-6-v1", (4, 6)),
            ("claude-haiku-4.5", (4, 5)),
            ("claude-opus-5", (5, 0)),
            ("claude-opus-5-5", (5, 5)),
        ];
        for (name, expected) in names {
            assert_eq!(version(name), Some(expected), "{name}");
        }
        assert_eq!(version("claude-latest"), None);
    }

    #[test]
    fn what_a_generation_refuses_is_known() {
        let form = |name| Abilities::of(name).form;
        assert_eq!(form("claude-3-5-haiku-latest"), Form::Never);
        assert_eq!(form("claude-haiku-4-5"), Form::Budget);
        assert_eq!(form("us.anthropic.claude-opus-4-6-v1"), Form::Adaptive);
        assert_eq!(form("claude-opus-5"), Form::AdaptiveByDefault);
        assert_eq!(form("claude-opus-5-5"), Form::Always);
        assert_eq!(form("claude-fable-5"), Form::Always);
        assert_eq!(form("claude-next"), Form::Always);
        assert_eq!(form("kimi-k2"), Form::Budget);
        assert_eq!(Abilities::of("claude-opus-4-7").sampling, Sampling::None);
        assert_eq!(Abilities::of("claude-opus-4-1").max_tokens, Some(32_000));
        assert_eq!(Abilities::of("claude-opus-5").max_tokens, None);
    }

    #[test]
    fn effort_becomes_the_nearest_word_that_the_model_knows() {
        let effort = |name, wanted| Abilities::of(name).effort(wanted);
        assert_eq!(effort("claude-opus-4-6", Effort::XHigh), Some(Effort::High));
        assert_eq!(effort("claude-opus-5", Effort::XHigh), Some(Effort::XHigh));
        assert_eq!(effort("claude-opus-5", Effort::Minimal), Some(Effort::Low));
        assert_eq!(effort("claude-haiku-4-5", Effort::High), None);
    }
}
