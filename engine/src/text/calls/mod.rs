//! Tool calls in a reply, in the form in which the model was taught to write them.
//!
//! Every form is a pure state machine, most of which see one character at a time, so that how a text was cut makes no
//! difference. None fails: what does not become a call comes out as the text that the model wrote, and what breaks after
//! it began is a call with the arguments that were written. Arguments stream as JSON; the forms that write them otherwise
//! are translated along the schema of the tool that is called.
//!
//! | form | file | arguments |
//! |---|---|---|
//! | Hermes, Qwen2.5, Qwen3 | `hermes` | JSON |
//! | Qwen3-Coder | `qwen_xml` | XML |
//! | Llama 3, Llama 4 | `llama`, `pythonic` | JSON, Python |
//! | Mistral | `mistral` | JSON |
//! | `DeepSeek`-V3, R1, V3.1 | `deepseek` | JSON |
//! | gpt-oss | `harmony` | JSON |
//! | GLM-4.5 | `glm` | XML |
//! | Kimi-K2 | `kimi` | JSON |
//! | `MiniMax`-M2 | `minimax` | XML |
//!
//! `sections`, `tagged`, `fenced`, `object`, `values` and `scan` are what they have in common.

mod deepseek;
mod detect;
mod emissions;
mod fenced;
mod glm;
mod harmony;
mod hermes;
mod kimi;
mod llama;
mod minimax;
mod mistral;
mod object;
mod pythonic;
mod qwen_xml;
mod scan;
mod sections;
mod tagged;
#[cfg(test)]
pub(super) mod tests;
mod values;

use std::sync::Arc;

pub(crate) use values::may_be_text;

pub(super) use emissions::Emissions;

use super::Tool;

/// Longest name of a tool, in bytes; what is longer is no call.
const NAME_BYTES_MAX: usize = 256;

/// The tools on offer.
pub(crate) type Tools = Arc<[Tool]>;

/// How a model writes tool calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolForm {
    /// JSON between `<tool_call>` tags.
    Hermes,
    /// XML between `<tool_call>` tags.
    QwenXml,
    /// A JSON object that is the reply.
    LlamaJson,
    /// A list of calls as Python writes them, which is the reply.
    Pythonic,
    /// `[TOOL_CALLS]` and JSON.
    Mistral,
    /// The tokens of `DeepSeek`-V3 and R1.
    DeepSeek,
    /// The channels of gpt-oss, which hold thoughts and answers as well.
    Harmony,
    /// Keys and values between `<tool_call>` tags.
    Glm,
    /// The tokens of Kimi-K2.
    Kimi,
    /// XML between `<minimax:tool_call>` tags.
    MiniMax,
}

impl ToolForm {
    /// Whether a reply without tools on offer has this form too.
    pub(crate) fn is_every_reply(self) -> bool {
        self == Self::Harmony
    }

    /// The tokens of the form that a reader has to see, though a vocabulary may call them special.
    pub(crate) fn markers(self) -> &'static [&'static str] {
        match self {
            Self::Hermes | Self::QwenXml => &["<tool_call>", "</tool_call>"],
            Self::Glm => {
                &["<tool_call>", "</tool_call>", "<arg_key>", "</arg_key>", "<arg_value>", "</arg_value>"]
            }
            Self::LlamaJson | Self::Pythonic => &llama::MARKERS,
            Self::Mistral => &mistral::MARKERS,
            Self::DeepSeek => &[
                "<｜tool▁calls▁begin｜>",
                "<｜tool▁call▁begin｜>",
                "<｜tool▁sep｜>",
                "<｜tool▁call▁end｜>",
                "<｜tool▁calls▁end｜>",
            ],
            Self::Harmony => &harmony::MARKERS,
            Self::Kimi => &[
                "<|tool_calls_section_begin|>",
                "<|tool_call_begin|>",
                "<|tool_call_argument_begin|>",
                "<|tool_call_end|>",
                "<|tool_calls_section_end|>",
            ],
            Self::MiniMax => &["<minimax:tool_call>", "</minimax:tool_call>"],
        }
    }

    /// A reader of one reply.
    pub(super) fn reader(self, tools: Tools) -> Box<dyn CallReader> {
        match self {
            Self::Hermes => Box::new(hermes::HermesReader::default()),
            Self::QwenXml => Box::new(qwen_xml::reader(tools)),
            Self::LlamaJson => Box::new(llama::LlamaReader::new(tools)),
            Self::Pythonic => Box::new(pythonic::PythonicReader::new(tools)),
            Self::Mistral => Box::new(mistral::MistralReader::default()),
            Self::DeepSeek => Box::new(deepseek::reader(tools)),
            Self::Harmony => Box::new(harmony::HarmonyReader::new(tools)),
            Self::Glm => Box::new(glm::reader(tools)),
            Self::Kimi => Box::new(kimi::reader(tools)),
            Self::MiniMax => Box::new(minimax::reader(tools)),
        }
    }
}

/// Reads a reply of one form.
pub(super) trait CallReader: std::fmt::Debug + Send {
    /// Takes the next character and passes on what is certain by now.
    fn take(&mut self, character: char, out: &mut Emissions);

    /// Ends the reply and passes on what was held back.
    fn finish(&mut self, out: &mut Emissions);

    /// Takes the next piece of the reply.
    fn push(&mut self, text: &str, out: &mut Emissions) {
        text.chars().for_each(|character| self.take(character, out));
    }

    /// Whether what comes next is thought, as far as is known.
    fn thinks(&self) -> bool {
        false
    }
}

/// How a call goes on.
enum Step {
    /// With more of it.
    More,
    /// It has ended.
    End,
    /// It has ended, and no other follows.
    EndAll,
    /// It was none: what was written, and the character that was not taken.
    Broken(String, Option<char>),
}

/// Whether a text may be the name of a tool where nothing quotes it.
pub(crate) fn is_tool_name(text: &str) -> bool {
    text.len() <= NAME_BYTES_MAX
        && !text
            .contains(|character: char| character.is_whitespace() || "<>{}[]()\"'`=,;".contains(character))
}
