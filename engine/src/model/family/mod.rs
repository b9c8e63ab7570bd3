//! The families: which config fields they have and what network these describe.

mod deepseek;
mod gemma3;
mod glm4_moe;
mod gpt_oss;
mod granite_moe;
mod llama;
mod llama4;
mod minimax_m2;
mod mistral;
mod mistral4;
mod mixtral;
mod olmoe;
mod phi_moe;
mod qwen2;
mod qwen2_moe;
mod qwen3;
mod qwen3_moe;
mod shape;

use super::ModelError;
use super::config::Config;
use super::describe::Description;

type Describe = fn(&Config) -> Result<Description, ModelError>;

/// The architectures that are served, as `config.json` names them.
const FAMILIES: &[(&str, Describe)] = &[
    ("DeepseekV2ForCausalLM", deepseek::describe_v2),
    ("DeepseekV3ForCausalLM", deepseek::describe_v3),
    ("Gemma3ForCausalLM", gemma3::describe),
    ("Gemma3ForConditionalGeneration", |config| shape::beside_vision(config, gemma3::describe)),
    ("Glm4MoeForCausalLM", glm4_moe::describe),
    ("GptOssForCausalLM", gpt_oss::describe),
    ("GraniteMoeForCausalLM", granite_moe::describe),
    ("Llama4ForCausalLM", llama4::describe),
    ("Llama4ForConditionalGeneration", |config| shape::beside_vision(config, llama4::describe)),
    ("LlamaForCausalLM", llama::describe),
    ("MiniMaxM2ForCausalLM", minimax_m2::describe),
    ("Mistral3ForConditionalGeneration", |config| shape::beside_vision(config, mistral::describe_any)),
    ("Mistral4ForCausalLM", mistral4::describe),
    ("MistralForCausalLM", mistral::describe),
    ("MistralLarge3ForCausalLM", mistral4::describe_large3),
    ("MixtralForCausalLM", mixtral::describe),
    ("OlmoeForCausalLM", olmoe::describe),
    ("PhiMoEForCausalLM", phi_moe::describe),
    ("PhimoeForCausalLM", phi_moe::describe),
    ("Qwen2ForCausalLM", qwen2::describe),
    ("Qwen2MoeForCausalLM", qwen2_moe::describe),
    ("Qwen3ForCausalLM", qwen3::describe),
    ("Qwen3MoeForCausalLM", qwen3_moe::describe),
];

/// Describes the network of a checkpoint.
pub(crate) fn describe(config: &Config) -> Result<Description, ModelError> {
    let name = config.architecture()?;
    let family = FAMILIES.iter().find(|(known, _)| *known == name);
    let (_, describe) = family.ok_or_else(|| ModelError::Architecture {
        name: name.to_owned(),
        supported: FAMILIES.iter().map(|(known, _)| *known).collect::<Vec<_>>().join(", "),
    })?;
    describe(config)
}
