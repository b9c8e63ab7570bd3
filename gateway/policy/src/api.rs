//! What an upstream speaks: the wire format of a provider's service, and who wrote the server.
//!
//! Two facts that only the policy's author knows. Egress takes from them which headers may pass, and whoever
//! translates a call takes the paths and the fields. Deliberately absent: both of these.

use url::Host;

/// Where `OpenAI` itself answers.
const OPENAI_HOST: &str = "api.openai.com";

/// The wire format of an HTTP provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Api {
    /// `OpenAI`'s API, of `OpenAI` or of a server that copies it.
    OpenAi(Server),
    /// Anthropic's Messages API.
    Anthropic,
    /// `OpenAI`'s models as Azure serves them.
    AzureOpenAi {
        /// The dated version of the form with a deployment in the path; absent for the `v1` form, which has none.
        api_version: Option<String>,
    },
    /// Amazon Bedrock's Converse API.
    Bedrock,
    /// Google Cloud's Vertex AI: Gemini, and the models of other publishers.
    Vertex,
    /// Google's Gemini API.
    Gemini,
}

impl Api {
    /// Returns the word that is `kind` in the policy file.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::OpenAi(_) => "openai",
            Self::Anthropic => "anthropic",
            Self::AzureOpenAi { .. } => "azure_openai",
            Self::Bedrock => "bedrock",
            Self::Vertex => "vertex",
            Self::Gemini => "gemini",
        }
    }
}

/// Whose server answers in `OpenAI`'s format. Each has deviations of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Server {
    /// `OpenAI`.
    OpenAi,
    /// vLLM.
    Vllm,
    /// `SGLang`.
    Sglang,
    /// Ollama.
    Ollama,
    /// `DeepSeek`.
    DeepSeek,
    /// Mistral.
    Mistral,
    /// The server of llama.cpp.
    LlamaCpp,
    /// Some other; only what all of them have in common is used.
    Compatible,
}

impl Server {
    /// Every server.
    pub(crate) const ALL: [Self; 8] = [
        Self::OpenAi,
        Self::Vllm,
        Self::Sglang,
        Self::Ollama,
        Self::DeepSeek,
        Self::Mistral,
        Self::LlamaCpp,
        Self::Compatible,
    ];

    /// Returns the word used in the policy file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Vllm => "vllm",
            Self::Sglang => "sglang",
            Self::Ollama => "ollama",
            Self::DeepSeek => "deepseek",
            Self::Mistral => "mistral",
            Self::LlamaCpp => "llama_cpp",
            Self::Compatible => "compatible",
        }
    }

    /// Returns what a provider at `host` is taken for if the file does not say.
    pub(crate) fn at(host: &Host) -> Self {
        match host {
            Host::Domain(name) if name == OPENAI_HOST => Self::OpenAi,
            _ => Self::Compatible,
        }
    }
}
