//! A model's tokenizer and chat template together: prompts to tokens.

use std::path::Path;
use std::sync::Arc;

use jiff::ZonedDateTime;

use crate::LoadError;
use crate::model::Gguf;
use crate::request::{Prompt, SpecialTokens};
use crate::text::{
    Calls, Conversation, GgufText, ReplyForm, Template, TextError, Thinking, Tokenizer, ToolForm,
};

/// A model's tokenizer and template.
#[derive(Debug)]
pub(crate) struct Codec {
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) template: Template,
}

impl Codec {
    /// Of a folder as the hub has it, or of a GGUF file. Without a `form` of tool calls it is what the files say.
    pub(crate) fn load(path: &Path, form: Option<ToolForm>) -> Result<Self, LoadError> {
        if Gguf::is_named_by(path) {
            let text = GgufText::read(&Gguf::open(path)?)?;
            let tokenizer = Tokenizer::of_gguf(&text)?;
            let template = Template::of_gguf(&text, &tokenizer)?;
            return Ok(Self::new(tokenizer, template.with_tool_form(form)));
        }
        let tokenizer = Tokenizer::load(path)?;
        let template = Template::load(path, &tokenizer)?;
        Ok(Self::new(tokenizer, template.with_tool_form(form)))
    }

    /// A model whose files name no end token for what its template ends a turn with would go on and on.
    fn new(tokenizer: Tokenizer, template: Template) -> Self {
        let tokenizer = Arc::new(tokenizer.ending_at(template.turn_ends()));
        Self { tokenizer, template }
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
        match self.template.thought_tags() {
            Some(tags) if rendered.trim_ascii_end().ends_with(tags.open) => Thinking::Begun(tags),
            Some(tags) => Thinking::Possible(tags),
            None => Thinking::Never,
        }
    }

    fn calls(&self, conversation: &Conversation) -> Calls {
        match self.template.tool_form() {
            Some(form) if form.is_every_reply() || !conversation.tools.is_empty() => {
                Calls::In(form, conversation.tools.as_slice().into())
            }
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
    use crate::text::{Message, Role, ThoughtTags, Tool};

    /// The demo model's tokenizer with another template.
    fn codec(template: &str) -> Codec {
        let folder = tempfile::tempdir().unwrap();
        let demo = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("models/demo");
        for name in ["tokenizer.json", "tokenizer_config.json"] {
            fs::copy(demo.join(name), folder.path().join(name)).unwrap();
        }
        fs::write(folder.path().join("chat_template.jinja"), template).unwrap();
        Codec::load(folder.path(), None).unwrap()
    }

    fn form(template: &str, tools: Vec<Tool>) -> ReplyForm {
        let messages = vec![Message::new(Role::User, "hi")];
        let conversation = Conversation { messages, tools, ..Conversation::default() };
        let prompt = Prompt::Conversation(conversation);
        let special = prompt.special_tokens();
        codec(template).encode(prompt, special, &ZonedDateTime::default()).unwrap().form
    }

    #[test]
    fn what_a_template_ends_turns_with_ends_a_reply() {
        let codec = |template: &str| codec(template).tokenizer;
        let start = codec("").special("<|im_start|>").expect("the demo model has it");
        let end = codec("").special("<|im_end|>").expect("the demo model has it");
        assert!(codec("{{ '<|im_end|>' }}").is_eos(end));
        assert!(!codec("{{ '<|im_start|>' }}").is_eos(start));
    }

    #[test]
    fn what_a_reply_may_have_is_read_from_the_template_and_the_prompt() {
        let thinks = |template: &str| form(template, Vec::new()).thinking;
        assert_eq!(thinks("{{ messages[0].content }}\n<|im_start|>assistant\n"), Thinking::Never);
        assert_eq!(
            thinks("{{ messages[0].content.split('</think>')[-1] }}"),
            Thinking::Possible(ThoughtTags::THINK)
        );
        assert_eq!(
            thinks("{{ 'a</think>'[0] }}<|im_start|>assistant\n<think>\n"),
            Thinking::Begun(ThoughtTags::THINK)
        );
        assert_eq!(
            thinks("<|im_start|>assistant\n<think>\n\n</think>\n\n"),
            Thinking::Possible(ThoughtTags::THINK)
        );

        let tool = Tool { name: "clock".into(), description: None, parameters: json!({}) };
        let offered = |form| Calls::In(form, [tool.clone()].into());
        assert_eq!(form("<tool_call>", vec![tool.clone()]).calls, offered(ToolForm::Hermes));
        assert_eq!(form("<tool_call>", Vec::new()).calls, Calls::AreText);
        assert_eq!(form("<tool_call><function=", vec![tool.clone()]).calls, Calls::AreText);
        // What is in a channel has to be told apart also where no tool is on offer.
        let channels = form("<|channel|><|message|>", Vec::new()).calls;
        assert_eq!(channels, Calls::In(ToolForm::Harmony, [].into()));
    }
}
