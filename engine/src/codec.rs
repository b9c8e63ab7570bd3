//! A model's tokenizer and chat template together: prompts to tokens.

use std::path::Path;
use std::sync::Arc;

use jiff::ZonedDateTime;

use crate::LoadError;
use crate::model::Gguf;
use crate::request::{Prompt, SpecialTokens};
use crate::text::{GgufText, Template, TextError, Tokenizer};

/// A model's tokenizer and template.
#[derive(Debug)]
pub(crate) struct Codec {
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) template: Template,
}

impl Codec {
    /// Of a folder as the hub has it, or of a GGUF file.
    pub(crate) fn load(path: &Path) -> Result<Self, LoadError> {
        if Gguf::is_named_by(path) {
            let text = GgufText::read(&Gguf::open(path)?)?;
            let tokenizer = Arc::new(Tokenizer::of_gguf(&text)?);
            let template = Template::of_gguf(&text, &tokenizer)?;
            return Ok(Self { tokenizer, template });
        }
        let tokenizer = Arc::new(Tokenizer::load(path)?);
        let template = Template::load(path, &tokenizer)?;
        Ok(Self { tokenizer, template })
    }

    /// The tokens of a prompt. A conversation's template writes its own special tokens, so it asks for none.
    pub(crate) fn tokens(
        &self,
        prompt: Prompt,
        special: SpecialTokens,
        now: &ZonedDateTime,
    ) -> Result<Vec<u32>, TextError> {
        let text = match prompt {
            Prompt::Tokens(tokens) => return Ok(tokens),
            Prompt::Text(text) => text,
            Prompt::Conversation(conversation) => self.template.render(&conversation, now)?,
        };
        match special {
            SpecialTokens::Add => self.tokenizer.encode_alone(&text),
            SpecialTokens::Omit => self.tokenizer.encode(&text),
        }
    }
}

impl Prompt {
    /// What a request for a reply needs.
    pub(crate) fn special_tokens(&self) -> SpecialTokens {
        match self {
            Self::Text(_) => SpecialTokens::Add,
            Self::Conversation(_) | Self::Tokens(_) => SpecialTokens::Omit,
        }
    }
}
