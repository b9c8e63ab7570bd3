//! A model's tokenizer and chat template together: prompts to tokens.

use std::path::Path;
use std::sync::Arc;

use jiff::ZonedDateTime;

use crate::LoadError;
use crate::model::Gguf;
use crate::request::{Prompt, SpecialTokens};
use crate::text::{
    Calls, Conversation, GgufText, ReplyForm, THINK_OPEN, Template, TextError, Thinking, Tokenizer,
};

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

    /// A prompt as the model sees it, and what to look for in the reply to it. A conversation's template writes its own special tokens, so it asks for none.
    pub(crate) fn encode(
        &self,
        prompt: Prompt,
        special: SpecialTokens,
        now: &ZonedDateTime,
    ) -> Result<Encoded, TextError> {
        let (text, form) = match prompt {
            Prompt::Tokens(tokens) => return Ok(Encoded { tokens, form: ReplyForm::TEXT }),
            Prompt::Text(text) => (text, ReplyForm::TEXT),
            Prompt::Conversation(conversation) => {
                let text = self.template.render(&conversation, now)?;
                let form = ReplyForm { thinking: self.thinking(&text), calls: self.calls(&conversation) };
                (text, form)
            }
        };
        let tokens = match special {
            SpecialTokens::Add => self.tokenizer.encode_alone(&text),
            SpecialTokens::Omit => self.tokenizer.encode(&text),
        }?;
        Ok(Encoded { tokens, form })
    }

    fn thinking(&self, rendered: &str) -> Thinking {
        match self.template.thinks() {
            true if rendered.trim_ascii_end().ends_with(THINK_OPEN) => Thinking::Begun,
            true => Thinking::Possible,
            false => Thinking::Never,
        }
    }

    fn calls(&self, conversation: &Conversation) -> Calls {
        match conversation.tools.as_slice() {
            [_, ..] if self.template.calls_tools_in_hermes_form() => Calls::InHermesForm,
            _ => Calls::AreText,
        }
    }
}

/// A prompt as the model sees it.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) tokens: Vec<u32>,
    /// What to look for in the reply.
    pub(crate) form: ReplyForm,
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use serde_json::json;

    use super::*;
    use crate::text::{Message, Role, Tool};

    /// The demo model's tokenizer with another template.
    fn codec(template: &str) -> Codec {
        let folder = tempfile::tempdir().unwrap();
        let demo = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/demo");
        for name in ["tokenizer.json", "tokenizer_config.json"] {
            fs::copy(demo.join(name), folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
        Codec::load(folder.path()).unwrap()
    }

    fn form(template: &str, tools: Vec<Tool>) -> ReplyForm {
        let conversation = Conversation { messages: vec![Message::new(Role::User, "hi")], tools };
        let prompt = Prompt::Conversation(conversation);
        let special = prompt.special_tokens();
        codec(template).encode(prompt, special, &ZonedDateTime::default()).unwrap().form
    }

    #[test]
    fn what_a_reply_may_have_is_read_from_the_template_and_the_prompt() {
        let thinks = |template: &str| form(template, Vec::new()).thinking;
        assert_eq!(thinks("{{ messages[0].content }}\n<|im_start|>assistant\n"), Thinking::Never);
        assert_eq!(thinks("{{ messages[0].content.split('</think>')[-1] }}"), Thinking::Possible);
        assert_eq!(thinks("{{ 'a</think>'[0] }}<|im_start|>assistant\n<think>\n"), Thinking::Begun);
        assert_eq!(thinks("<|im_start|>assistant\n<think>\n\n</think>\n\n"), Thinking::Possible);

        let tool = Tool { name: "clock".into(), description: None, parameters: json!({}) };
        assert_eq!(form("<tool_call>", vec![tool.clone()]).calls, Calls::InHermesForm);
        assert_eq!(form("<tool_call>", Vec::new()).calls, Calls::AreText);
        assert_eq!(form("<tool_call><function=", vec![tool]).calls, Calls::AreText);
    }
}
