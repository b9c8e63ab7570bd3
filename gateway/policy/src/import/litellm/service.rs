//! The services that `LiteLLM` knows, and what they are to a policy file.
//!
//! Only those are here that speak an API for which there is a kind of provider.

/// A service that `LiteLLM` knows by the first part of a model's name.
pub(super) struct Service {
    pub(super) prefix: &'static str,
    pub(super) stem: &'static str,
    pub(super) kind: &'static str,
    pub(super) server: Option<&'static str>,
    /// Where it is if the deployment does not say; empty if it has to.
    pub(super) base_url: &'static str,
    /// The variable with its key if the deployment does not say; empty if it needs none.
    pub(super) variable: &'static str,
}

const fn openai(prefix: &'static str, base_url: &'static str, variable: &'static str) -> Service {
    Service { prefix, stem: prefix, kind: "openai", server: None, base_url, variable }
}

const fn served_by(
    prefix: &'static str,
    stem: &'static str,
    server: &'static str,
    base_url: &'static str,
    variable: &'static str,
) -> Service {
    Service { prefix, stem, kind: "openai", server: Some(server), base_url, variable }
}

const fn of_kind(
    prefix: &'static str,
    stem: &'static str,
    kind: &'static str,
    base_url: &'static str,
    variable: &'static str,
) -> Service {
    Service { prefix, stem, kind, server: None, base_url, variable }
}

static SERVICES: [Service; 24] = [
    openai("openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    of_kind("anthropic", "anthropic", "anthropic", "https://api.anthropic.com", "ANTHROPIC_API_KEY"),
    of_kind("azure", "azure", "azure_openai", "", "AZURE_API_KEY"),
    of_kind("bedrock", "bedrock", "bedrock", "", ""),
    of_kind("vertex_ai", "vertex", "vertex", "", ""),
    of_kind(
        "gemini",
        "gemini",
        "gemini",
        "https://generativelanguage.googleapis.com/v1beta",
        "GEMINI_API_KEY",
    ),
    served_by("ollama", "ollama", "ollama", "http://localhost:11434/v1", ""),
    served_by("ollama_chat", "ollama", "ollama", "http://localhost:11434/v1", ""),
    served_by("hosted_vllm", "vllm", "vllm", "", ""),
    served_by("lm_studio", "lm-studio", "compatible", "", ""),
    served_by("llamafile", "llamafile", "llama_cpp", "http://127.0.0.1:8080/v1", ""),
    served_by("xinference", "xinference", "compatible", "http://127.0.0.1:9997/v1", ""),
    served_by("litellm_proxy", "litellm", "compatible", "", "LITELLM_PROXY_API_KEY"),
    served_by("deepseek", "deepseek", "deepseek", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    served_by("mistral", "mistral", "mistral", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    openai("groq", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    served_by("together_ai", "together", "compatible", "https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    openai("openrouter", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    openai("xai", "https://api.x.ai/v1", "XAI_API_KEY"),
    served_by(
        "fireworks_ai",
        "fireworks",
        "compatible",
        "https://api.fireworks.ai/inference/v1",
        "FIREWORKS_API_KEY",
    ),
    openai("perplexity", "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
    openai("cerebras", "https://api.cerebras.ai/v1", "CEREBRAS_API_KEY"),
    openai("deepinfra", "https://api.deepinfra.com/v1/openai", "DEEPINFRA_API_KEY"),
    served_by(
        "nvidia_nim",
        "nvidia",
        "compatible",
        "https://integrate.api.nvidia.com/v1",
        "NVIDIA_NIM_API_KEY",
    ),
];

/// Beginnings of model names that `LiteLLM` takes for a service without being told.
static BARE: [(&str, &str); 7] = [
    ("gpt-", "openai"),
    ("chatgpt-", "openai"),
    ("o1", "openai"),
    ("o3", "openai"),
    ("o4", "openai"),
    ("text-embedding-", "openai"),
    ("claude-", "anthropic"),
];

/// Returns the service that a model's name begins with, and the rest of the name.
pub(super) fn of(model: &str) -> Option<(&'static Service, &str)> {
    let by_prefix = |prefix: &str| SERVICES.iter().find(|service| service.prefix == prefix);
    if let Some((prefix, name)) = model.split_once('/')
        && let Some(service) = by_prefix(prefix)
    {
        return Some((service, name));
    }
    let (_, prefix) = BARE.iter().find(|(start, _)| model.starts_with(start))?;
    (!model.contains('/')).then_some((by_prefix(prefix)?, model))
}
