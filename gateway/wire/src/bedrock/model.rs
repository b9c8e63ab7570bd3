//! What the id of a model says about its family, for the few fields that only one family understands.
//!
//! Which Claude thinks how is from AWS's pages on "Extended thinking" and "Adaptive thinking" in the Bedrock user guide:
//! Claude 3.7 to 4.5 take a budget, 4.6 and later decide by themselves and take an effort, and of those the largest cannot be
//! told not to think. Which keeps a prefix for how long, and where its end may be marked, is from "Prompt caching" there.

/// The family of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Anthropic's.
    Claude(Claude),
    /// Amazon's.
    Nova,
    /// Anybody's, or one that the id does not tell.
    Other,
}

/// What one of Anthropic's models understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claude {
    pub(super) thinks: Thinks,
    /// It keeps a prefix of the prompt for an hour, if it is asked to.
    pub(super) keeps_an_hour: bool,
}

/// How a Claude is told to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thinks {
    /// It cannot.
    Never,
    /// If it gets a budget of tokens.
    ByBudget,
    /// As it sees fit once it is asked to, more or less by effort.
    WhenAsked,
    /// As it sees fit unless it is told not to.
    UnlessTold,
    /// Always.
    Always,
}

impl Family {
    /// Reads the id of a model, of an inference profile, or an ARN of either.
    pub(super) fn of(model: &str) -> Self {
        let model = model.to_ascii_lowercase();
        match model.split_once("claude-") {
            Some((_, version)) => Self::Claude(Claude::of(version)),
            None if model.contains("amazon.nova") => Self::Nova,
            None => Self::Other,
        }
    }
}

impl Claude {
    /// Reads what stands behind `claude-`, such as `opus-4-6-v1` or `3-7-sonnet-20250219-v1:0`.
    fn of(version: &str) -> Self {
        let words: Vec<&str> = version.split(|character: char| !character.is_ascii_alphanumeric()).collect();
        // A date is a number too, but no minor version.
        let number =
            |at: usize| words.get(at).and_then(|word| word.parse().ok()).filter(|number| *number < 100);
        let named = words.first().is_some_and(|word| matches!(*word, "opus" | "sonnet" | "haiku"));
        let (major, minor): (u32, u32) = match (named, number(0)) {
            (true, _) => (number(1).unwrap_or(0), number(2).unwrap_or(0)),
            (false, Some(major)) => (major, number(1).unwrap_or(0)),
            (false, None) if matches!(words.first(), Some(&("v2" | "instant"))) => (2, 0),
            // Fable, Mythos, and whatever comes after them.
            (false, None) => return Self { thinks: Thinks::Always, keeps_an_hour: true },
        };
        let thinks = match (major, minor) {
            (..=3, 7) | (4, ..=5) => Thinks::ByBudget,
            (..=3, _) => Thinks::Never,
            (4, _) => Thinks::WhenAsked,
            (5, 5) if words[0] == "opus" => Thinks::Always,
            _ => Thinks::UnlessTold,
        };
        Self { thinks, keeps_an_hour: (major, minor) >= (4, 5) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Claude, Family, Thinks};

    #[test]
    fn the_id_of_a_claude_says_how_it_thinks() {
        let check = |model, expected| match Family::of(model) {
            Family::Claude(Claude { thinks, .. }) => assert_eq!(thinks, expected, "{model}"),
            other => panic!("{model} is {other:?}"),
        };
        check("anthropic.claude-3-5-sonnet-20241022-v2:0", Thinks::Never);
        check("anthropic.claude-v2:1", Thinks::Never);
        check("us.anthropic.claude-3-7-sonnet-20250219-v1:0", Thinks::ByBudget);
        check("anthropic.claude-sonnet-4-20250514-v1:0", Thinks::ByBudget);
        check("anthropic.claude-opus-4-1-20250805-v1:0", Thinks::ByBudget);
        check("eu.anthropic.claude-haiku-4-5-20251001-v1:0", Thinks::ByBudget);
        check("anthropic.claude-opus-4-6-v1", Thinks::WhenAsked);
        check("global.anthropic.claude-opus-4-8", Thinks::WhenAsked);
        check("anthropic.claude-sonnet-5", Thinks::UnlessTold);
        check("anthropic.claude-opus-5-5", Thinks::Always);
        check("anthropic.claude-fable-5-1", Thinks::Always);
        check(
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-4-6-v1",
            Thinks::WhenAsked,
        );
    }

    #[test]
    fn claude_4_5_and_later_keep_a_prefix_for_an_hour() {
        let keeps = |model| matches!(Family::of(model), Family::Claude(Claude { keeps_an_hour: true, .. }));
        assert!(
            !keeps("anthropic.claude-opus-4-1-20250805-v1:0")
                && !keeps("anthropic.claude-3-haiku-20240307-v1:0")
        );
        assert!(keeps("anthropic.claude-haiku-4-5-20251001-v1:0") && keeps("anthropic.claude-fable-5"));
    }

    #[test]
    fn other_ids_are_of_other_families() {
        assert_eq!(Family::of("us.amazon.nova-pro-v1:0"), Family::Nova);
        assert_eq!(Family::of("openai.gpt-oss-120b-1:0"), Family::Other);
        let hidden = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/ab12cd34";
        assert_eq!(Family::of(hidden), Family::Other);
    }
}
