//! The families: which config fields they have and what network these describe.

mod glm4_moe;
mod llama;
mod minimax_m2;
mod mistral;
mod mixtral;
mod olmoe;
mod qwen2;
mod qwen2_moe;
mod qwen3;
mod qwen3_moe;

use super::ModelError;
use super::config::Config;
use super::describe::{
    Description, ExpertLayer, ExpertNames, FeedForward, HeadNorm, Heads, Layer, SharedExpert,
};
use super::rope;

type Describe = fn(&Config) -> Result<Description, ModelError>;

/// The architectures that are served, as `config.json` names them.
const FAMILIES: &[(&str, Describe)] = &[
    ("Glm4MoeForCausalLM", glm4_moe::describe),
    ("LlamaForCausalLM", llama::describe),
    ("MiniMaxM2ForCausalLM", minimax_m2::describe),
    ("MistralForCausalLM", mistral::describe),
    ("MixtralForCausalLM", mixtral::describe),
    ("OlmoeForCausalLM", olmoe::describe),
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

/// What every Llama-shaped family shares, with plain heads; the layers are the caller's.
fn llama_shaped(config: &Config, layers: Vec<Layer>) -> Result<Description, ModelError> {
    config.only("hidden_act", &"silu".into())?;
    let (width, query) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    let key_value = config.find_size("num_key_value_heads")?.unwrap_or(query);
    let dim = config.find_size("head_dim")?.unwrap_or(width / query);
    if key_value == 0 || !query.is_multiple_of(key_value) {
        return Err(ModelError::Unsupported {
            what: format!("{query} query heads over {key_value} key/value heads"),
            supported: "a whole number of query heads per key/value head".to_owned(),
        });
    }
    Ok(Description {
        vocabulary: config.size("vocab_size")?,
        width,
        context: config.size("max_position_embeddings")?,
        norm_eps: config.number("rms_norm_eps")? as f32,
        tied: config.flag("tie_word_embeddings", false)?,
        heads: Heads { query, key_value, dim, norm: HeadNorm::None, bias: false, clamp: None },
        rope: rope::table(config, dim, rope::Defaults::LLAMA)?,
        layers,
        draft_layers: 0,
    })
}

/// All layers alike with a dense feed-forward of the config's `intermediate_size`.
fn dense_layers(config: &Config, window: Option<u32>) -> Result<Vec<Layer>, ModelError> {
    let feed_forward = FeedForward::Dense { inner: config.size("intermediate_size")? };
    Ok(vec![Layer { window, feed_forward }; config.size("num_hidden_layers")?])
}

/// Layers with experts where `is_sparse` says so, and with a dense feed-forward elsewhere.
fn expert_layers(
    config: &Config,
    experts: ExpertLayer,
    is_sparse: impl Fn(usize) -> bool,
) -> Result<Vec<Layer>, ModelError> {
    let count = config.size("num_hidden_layers")?;
    let dense = config.find_size("intermediate_size")?;
    let layer = |i: usize| {
        let feed_forward = match dense {
            _ if is_sparse(i) => FeedForward::Experts(experts),
            Some(inner) => FeedForward::Dense { inner },
            None => {
                return Err(ModelError::Field {
                    name: "intermediate_size".to_owned(),
                    expected: "a whole number",
                });
            }
        };
        Ok(Layer { window: None, feed_forward })
    };
    (0..count).map(layer).collect()
}

/// The number of experts: transformers 5 writes the common name, checkpoints on the hub the family's own.
fn expert_count(config: &Config, own: &'static str) -> Result<usize, ModelError> {
    let common = config.find_size("num_local_experts")?;
    match config.find_size(own)? {
        Some(count) => Ok(count),
        None => common.ok_or(ModelError::Field { name: own.to_owned(), expected: "a whole number" }),
    }
}

/// Qwen's choice of layers: not in `mlp_only_layers`, and `i + 1` a multiple of `decoder_sparse_step`.
fn qwen_sparse(config: &Config) -> Result<impl Fn(usize) -> bool, ModelError> {
    let step = config.find_size("decoder_sparse_step")?.unwrap_or(1).max(1);
    let dense_only = config.find_sizes("mlp_only_layers")?.unwrap_or_default();
    Ok(move |i: usize| !dense_only.contains(&i) && (i + 1).is_multiple_of(step))
}

/// The config's `sliding_window`, in keys; 0 is none.
fn sliding_window(config: &Config) -> Result<Option<u32>, ModelError> {
    let window = config.find_size("sliding_window")?.filter(|window| *window > 0);
    Ok(window.map(|window| u32::try_from(window).unwrap_or(u32::MAX)))
}

/// Qwen's switch: the window counts only where `use_sliding_window` is set, which no released model does.
fn no_sliding_window(config: &Config) -> Result<(), ModelError> {
    config.only("use_sliding_window", &false.into())?;
    config.find_size("sliding_window")?;
    match config.find_words("layer_types")?.into_iter().flatten().find(|kind| kind != "full_attention") {
        Some(kind) => Err(ModelError::Unsupported {
            what: format!("a layer of type {kind:?}"),
            supported: "full_attention".to_owned(),
        }),
        None => Ok(()),
    }
}
