//! Which form a model writes, as its chat template says it, or else the tokens that its vocabulary has for it.

use super::ToolForm;

impl ToolForm {
    /// Looks at what templates say, the most particular first; then whether a vocabulary has the tokens of a form, since
    /// some templates show a model no call.
    pub(crate) fn detect(templates: &[&str], has_token: impl Fn(&str) -> bool) -> Option<Self> {
        let written = |text: &str| templates.iter().any(|template| template.contains(text));
        let all = |texts: &[&str]| texts.iter().all(|text| written(text));
        let known: [(bool, Self); 11] = [
            (written("<minimax:tool_call>"), Self::MiniMax),
            (all(&["<|channel|>", "<|message|>"]), Self::Harmony),
            (written("<｜tool▁call▁begin｜>"), Self::DeepSeek),
            (written("<|tool_call_begin|>"), Self::Kimi),
            (written("[TOOL_CALLS]"), Self::Mistral),
            (written("<arg_key>"), Self::Glm),
            (all(&["<function=", "<parameter="]), Self::QwenXml),
            // Another form that a template may speak of has XML with JSON in it.
            (written("<tool_call>") && !written("<function="), Self::Hermes),
            (written("[func_name"), Self::Pythonic),
            (all(&["<|python_tag|>", "\"parameters\": "]), Self::LlamaJson),
            (all(&["\"name\": function name", "\"parameters\": "]), Self::LlamaJson),
        ];
        let found = known.into_iter().find_map(|(is_it, form)| is_it.then_some(form));
        // A template that says nothing of tools is of a model that was not taught to call any, whatever its vocabulary
        // has room for.
        found.or_else(|| written("tools").then(|| Self::of_tokens(has_token)).flatten())
    }

    fn of_tokens(has_token: impl Fn(&str) -> bool) -> Option<Self> {
        [
            ("<minimax:tool_call>", Self::MiniMax),
            ("<|constrain|>", Self::Harmony),
            ("<｜tool▁call▁begin｜>", Self::DeepSeek),
            ("<|tool_call_begin|>", Self::Kimi),
            ("[TOOL_CALLS]", Self::Mistral),
        ]
        .into_iter()
        .find_map(|(token, form)| has_token(token).then_some(form))
    }

    /// The form that a configuration calls so.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.name() == name)
    }

    /// What a configuration calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hermes => "hermes",
            Self::QwenXml => "qwen_xml",
            Self::LlamaJson => "llama_json",
            Self::Pythonic => "pythonic",
            Self::Mistral => "mistral",
            Self::DeepSeek => "deepseek",
            Self::Harmony => "harmony",
            Self::Glm => "glm",
            Self::Kimi => "kimi",
            Self::MiniMax => "minimax",
        }
    }

    /// Every form.
    pub const ALL: [Self; 10] = [
        Self::Hermes,
        Self::QwenXml,
        Self::LlamaJson,
        Self::Pythonic,
        Self::Mistral,
        Self::DeepSeek,
        Self::Harmony,
        Self::Glm,
        Self::Kimi,
        Self::MiniMax,
    ];
}
