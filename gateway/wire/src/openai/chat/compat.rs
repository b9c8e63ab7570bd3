//! In what the servers that speak this API differ from it.
//!
//! Facts of each server's own documentation; a table, so that a deviation is a line here and not a branch elsewhere.

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
    /// The word for "call some tool".
    pub(super) required: &'static str,
    /// `top_k` and `min_p` are fields of the API.
    pub(super) samples_widely: bool,
    /// `user` is a field of the API.
    pub(super) takes_user: bool,
    /// `store` is a field of the API, and `true` does something.
    pub(super) stores: bool,
    /// `reasoning_effort` is a field of the API.
    pub(super) takes_effort: bool,
    /// Reasoning of earlier turns comes back under this name.
    pub(super) reasoning: Option<&'static str>,
    /// `parallel_tool_calls` is a field of the API.
    pub(super) parallel_tool_calls: bool,
    /// `response_format` may be a schema.
    pub(super) takes_schema: bool,
    /// Custom (free text) tools exist.
    pub(super) custom_tools: bool,
    /// `stream_options.include_usage` exists; where it does not, usage comes unasked.
    pub(super) stream_options: bool,
    /// Pictures may be URLs that the server fetches.
    pub(super) fetches_images: bool,
    /// Ids of tool calls have to be nine letters or digits.
    pub(super) short_call_ids: bool,
    /// Instructions may stand behind other turns; the templates of most open models refuse them there.
    pub(super) system_anywhere: bool,
    /// Fields of the API that the server refuses: a request with one of them is written anew instead of passed on.
    pub(super) refuses: &'static [&'static str],
}

const COMMON: Compat = Compat {
    max_tokens: "max_tokens",
    seed: Some("seed"),
    required: "required",
    samples_widely: false,
    takes_user: true,
    stores: false,
    takes_effort: true,
    reasoning: None,
    parallel_tool_calls: true,
    takes_schema: true,
    custom_tools: false,
    stream_options: true,
    fetches_images: true,
    short_call_ids: false,
    system_anywhere: false,
    refuses: &[],
};

impl Server {
    pub(super) fn compat(self) -> Compat {
        match self {
            Self::OpenAi => Compat {
                max_tokens: "max_completion_tokens",
                stores: true,
                custom_tools: true,
                system_anywhere: true,
                ..COMMON
            },
            Self::Vllm | Self::Sglang => {
                Compat { samples_widely: true, reasoning: Some("reasoning_content"), ..COMMON }
            }
            Self::LlamaCpp => Compat {
                samples_widely: true,
                takes_effort: false,
                reasoning: Some("reasoning_content"),
                ..COMMON
            },
            Self::Ollama => Compat { fetches_images: false, parallel_tool_calls: false, ..COMMON },
            Self::DeepSeek => Compat {
                seed: None,
                takes_user: false,
                takes_effort: false,
                reasoning: Some("reasoning_content"),
                parallel_tool_calls: false,
                takes_schema: false,
                refuses: &["max_completion_tokens"],
                ..COMMON
            },
            Self::Mistral => Compat {
                seed: Some("random_seed"),
                required: "any",
                takes_user: false,
                takes_effort: false,
                stream_options: false,
                short_call_ids: true,
                refuses: &[
                    "max_completion_tokens",
                    "seed",
                    "stream_options",
                    "user",
                    "store",
                    "logprobs",
                    "reasoning_effort",
                ],
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
