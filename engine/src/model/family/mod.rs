//! The families: which config fields they have and what network these describe.

mod llama;
mod mistral;
mod mixtral;
mod qwen3;
mod qwen3_moe;

use super::ModelError;
use super::config::Config;
use super::describe::{Description, FeedForward, Heads, Layer};
use super::rope;

type Describe = fn(&Config) -> Result<Description, ModelError>;

/// The architectures that are served, as `config.json` names them.
const FAMILIES: &[(&str, Describe)] = &[
    ("LlamaForCausalLM", llama::describe),
    ("MistralForCausalLM", mistral::describe),
    ("MixtralForCausalLM", mixtral::describe),
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

/// What every Llama-shaped family shares; the layers, head norm and bias are the caller's.
fn llama_shaped(
    config: &Config,
    layers: Vec<Layer>,
    norm: bool,
    bias: bool,
) -> Result<Description, ModelError> {
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
        heads: Heads { query, key_value, dim, norm, bias },
        rope: rope::table(config, dim, 10_000.0)?,
        layers,
    })
}

/// `count` layers alike with a dense feed-forward of the config's `intermediate_size`.
fn dense_layers(config: &Config, window: Option<u32>) -> Result<Vec<Layer>, ModelError> {
    let feed_forward = FeedForward::Dense { inner: config.size("intermediate_size")? };
    Ok(vec![Layer { window, feed_forward }; config.size("num_hidden_layers")?])
}

/// The config's `sliding_window`, in keys.
fn sliding_window(config: &Config) -> Result<Option<u32>, ModelError> {
    Ok(config.find_size("sliding_window")?.map(|window| u32::try_from(window).unwrap_or(u32::MAX)))
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
