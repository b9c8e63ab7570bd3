//! In what the servers that speak this API differ from it.
//!
//! Facts of each server's own documentation; a table, so that a deviation is a line here and not a branch elsewhere.

use crate::call::Effort;

/// A server that speaks the chat completions API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Server {
    /// `OpenAI` itself, or Azure's service of the same models.
    OpenAi,
    /// vLLM.
    Vllm,
    /// `SGLang`.
    Sglang,
    /// Ollama.
    Ollama,
    /// The hosted service of `DeepSeek`.
    DeepSeek,
    /// The hosted service of Mistral.
    Mistral,
    /// The server of llama.cpp.
    LlamaCpp,
    /// Any other server that speaks what all of them speak.
    Compatible,
}

/// What one server understands.
#[derive(Debug, Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "a table of facts that do not depend on each other")]
pub(super) struct Compat {
    /// The name of the limit on new tokens.
    pub(super) max_tokens: &'static str,
    /// The name of the seed, if there is one.
    pub(super) seed: Option<&'static str>,
    /// How a tool can be demanded.
    pub(super) choice: Choosing,
    /// `top_k` and `min_p` are fields of the API.
    pub(super) samples_widely: bool,
    /// `logprobs` are a field of the API.
    pub(super) logprobs: bool,
    /// Several answers can be asked for.
    pub(super) several: bool,
    /// `user` is a field of the API.
    pub(super) takes_user: bool,
    /// `store` is a field of the API, and `true` does something.
    pub(super) stores: bool,
    /// How thinking is controlled.
    pub(super) thinking: Control,
    /// Reasoning of earlier turns goes back under this name.
    pub(super) reasoning: Option<&'static str>,
    /// An earlier turn that called tools has to have its reasoning, even if it is empty.
    pub(super) wants_reasoning: bool,
    /// `parallel_tool_calls` is a field of the API.
    pub(super) parallel_tool_calls: bool,
    /// `response_format` may be a schema.
    pub(super) takes_schema: bool,
    /// Custom (free text) tools exist.
    pub(super) custom_tools: bool,
    /// Messages may have a `name`.
    pub(super) names: bool,
    /// Messages may have a `refusal` beside their content.
    pub(super) refusals: bool,
    /// Files may stand in messages.
    pub(super) files: bool,
    /// `stream_options.include_usage` exists; where it does not, usage comes unasked.
    pub(super) stream_options: bool,
    /// Pictures may be URLs that the server fetches.
    pub(super) fetches_images: bool,
    /// Ids of tool calls have to be nine letters or digits.
    pub(super) short_call_ids: bool,
    /// Instructions may stand behind other turns; the templates of most open models refuse them there.
    pub(super) system_anywhere: bool,
    /// Fields of the API that the server refuses, or silently passes over: a request with one of them is written anew
    /// instead of passed on.
    pub(super) refuses: &'static [&'static str],
}

/// How a tool can be demanded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Choosing {
    /// `tool_choice` may be a word or name a tool.
    Named,
    /// It may be a word; a name is taken for `auto`.
    Words,
    /// There is no such field.
    Not,
}

/// How thinking is controlled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    /// By `reasoning_effort`, up to this word.
    Effort(Effort),
    /// By `reasoning_effort`, and by a switch to turn it off.
    Switch,
    /// Not by the request.
    Not,
}

const COMMON: Compat = Compat {
    max_tokens: "max_tokens",
    seed: Some("seed"),
    choice: Choosing::Named,
    samples_widely: false,
    logprobs: true,
    several: true,
    takes_user: true,
    stores: false,
    thinking: Control::Effort(Effort::XHigh),
    reasoning: None,
    wants_reasoning: false,
    parallel_tool_calls: true,
    takes_schema: true,
    custom_tools: false,
    names: true,
    refusals: false,
    files: false,
    stream_options: true,
    fetches_images: true,
    short_call_ids: false,
    system_anywhere: false,
    refuses: &[],
};

/// What the hosted service of Mistral answers with status 422, of all that clients of the API send.
const MISTRAL_REFUSES: &[&str] = &[
    "max_completion_tokens",
    "seed",
    "stream_options",
    "user",
    "safety_identifier",
    "store",
    "logprobs",
    "top_logprobs",
    "logit_bias",
    "top_k",
    "min_p",
    "reasoning_effort",
    "service_tier",
    "modalities",
    "audio",
    "verbosity",
    "web_search_options",
    "prompt_cache_key",
    "prompt_cache_retention",
    "functions",
    "function_call",
];

impl Server {
    pub(super) fn compat(self) -> Compat {
        match self {
            Self::OpenAi => Compat {
                max_tokens: "max_completion_tokens",
                stores: true,
                custom_tools: true,
                system_anywhere: true,
                refusals: true,
                files: true,
                ..COMMON
            },
            Self::Vllm | Self::Sglang => {
                Compat { samples_widely: true, reasoning: Some("reasoning_content"), ..COMMON }
            }
            Self::LlamaCpp => Compat {
                choice: Choosing::Words,
                samples_widely: true,
                thinking: Control::Not,
                reasoning: Some("reasoning_content"),
                ..COMMON
            },
            Self::Ollama => Compat {
                choice: Choosing::Not,
                several: false,
                takes_user: false,
                reasoning: Some("reasoning"),
                parallel_tool_calls: false,
                fetches_images: false,
                refuses: &["max_completion_tokens"],
                ..COMMON
            },
            Self::DeepSeek => Compat {
                seed: None,
                several: false,
                takes_user: false,
                thinking: Control::Switch,
                reasoning: Some("reasoning_content"),
                wants_reasoning: true,
                parallel_tool_calls: false,
                takes_schema: false,
                refuses: &["max_completion_tokens"],
                ..COMMON
            },
            Self::Mistral => Compat {
                seed: Some("random_seed"),
                logprobs: false,
                takes_user: false,
                thinking: Control::Not,
                names: false,
                stream_options: false,
                short_call_ids: true,
                refuses: MISTRAL_REFUSES,
                ..COMMON
            },
            Self::Compatible => COMMON,
        }
    }

    /// Returns whether a request with these top-level fields may go to the server byte for byte.
    pub fn accepts<'a>(self, mut fields: impl Iterator<Item = &'a str>) -> bool {
        let refused = self.compat().refuses;
        !fields.any(|field| refused.contains(&field))
    }

    /// Returns whether usage can be asked for in a stream.
    pub fn takes_stream_options(self) -> bool {
        self.compat().stream_options
    }
}
