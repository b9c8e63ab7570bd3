//! What the id of a model says about its family, for the few fields that only one family understands.
//!
//! What a Claude accepts does not depend on who hosts it, so that is [`Abilities`]. Which model keeps a prefix for how long,
//! and where its end may be marked, is from "Prompt caching" in the Bedrock user guide.

use crate::anthropic::messages::abilities::{Abilities, version};

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
    pub(super) abilities: Abilities,
    /// It keeps a prefix of the prompt for an hour, if it is asked to.
    pub(super) keeps_an_hour: bool,
}

impl Family {
    /// Reads the id of a model, of an inference profile, or an ARN of either.
    pub(super) fn of(model: &str) -> Self {
        let model = model.to_ascii_lowercase();
        match model.find("claude") {
            Some(start) => Self::Claude(Claude {
                abilities: Abilities::of(&model),
                keeps_an_hour: version(&model[start..]).is_none_or(|version| version >= (4, 5)),
            }),
            None if model.contains("amazon.nova") => Self::Nova,
            None => Self::Other,
        }
    }

    /// Returns what the model accepts, if it is a Claude.
    pub(super) fn abilities(self) -> Option<Abilities> {
        match self {
            Self::Claude(claude) => Some(claude.abilities),
            Self::Nova | Self::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Claude, Family};
    use crate::anthropic::messages::abilities::Form;

    #[test]
    fn the_id_of_a_claude_says_what_it_accepts() {
        let check = |model, form, hour| match Family::of(model) {
            Family::Claude(Claude { abilities, keeps_an_hour }) => {
                assert_eq!((abilities.form, keeps_an_hour), (form, hour), "{model}");
            }
            other => panic!("{model} is {other:?}"),
        };
        check("anthropic.claude-3-5-sonnet-20241022-v2:0", Form::Never, false);
        check("anthropic.claude-v2:1", Form::Never, false);
        check("us.anthropic.claude-3-7-sonnet-20250219-v1:0", Form::Budget, false);
        check("anthropic.claude-opus-4-1-20250805-v1:0", Form::Budget, false);
        check("eu.anthropic.claude-haiku-4-5-20251001-v1:0", Form::Budget, true);
        check("global.anthropic.claude-opus-4-8", Form::Adaptive, true);
        let profile =
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-opus-4-6-v1";
        check(profile, Form::Adaptive, true);
    }

    #[test]
    fn other_ids_are_of_other_families() {
        assert_eq!(Family::of("us.amazon.nova-pro-v1:0"), Family::Nova);
        assert_eq!(Family::of("openai.gpt-oss-120b-1:0"), Family::Other);
        let hidden = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/ab12cd34";
        assert_eq!(Family::of(hidden), Family::Other);
    }
}
