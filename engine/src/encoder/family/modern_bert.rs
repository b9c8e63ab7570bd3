//! ModernBERT: rotary positions, gated layers, and a window in all but every n-th layer.

use candle_transformers::models::modernbert::Config as Network;

use super::{Activation, Bias, Description, Head, HeadPooling, Naming, Settings, Source, unsupported};
use crate::model::{Config, ModelError};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    config.ignore(&[
        "decoder_bias",
        "deterministic_flash_attn",
        "embedding_dropout",
        "initializer_cutoff_factor",
        // A second spelling on the hub that the reference does not read.
        "layer_norm_eps",
        "mlp_dropout",
        "position_embedding_type",
        "reference_compile",
        "repad_logits_with_grad",
        "sparse_pred_ignore_index",
        "sparse_prediction",
    ]);
    // The network has no place for them.
    for bias in ["norm_bias", "attention_bias", "mlp_bias"] {
        config.only(bias, &false.into())?;
    }
    config.only("hidden_activation", &"gelu".into())?;
    let layers = config.size("num_hidden_layers")?;
    let eps = config.find_number("norm_eps")?.unwrap_or(1e-5);
    let (global_theta, local_theta) = rope_thetas(config)?;
    let network = Network {
        vocab_size: config.size("vocab_size")?,
        hidden_size: config.size("hidden_size")?,
        num_hidden_layers: layers,
        num_attention_heads: config.size("num_attention_heads")?,
        intermediate_size: config.size("intermediate_size")?,
        max_position_embeddings: config.find_size("max_position_embeddings")?.unwrap_or(8192),
        layer_norm_eps: eps,
        pad_token_id: super::pad_token(config, 50283)?,
        global_attn_every_n_layers: global_every(config, layers)?,
        global_rope_theta: global_theta,
        local_attention: config.find_size("local_attention")?.unwrap_or(128),
        local_rope_theta: local_theta,
        classifier_config: None,
    };
    Ok(Description {
        hidden_size: network.hidden_size,
        attention_heads: network.num_attention_heads,
        // As BERT, and each step is held until the layer's end.
        score_copies: 6,
        vocabulary: network.vocab_size,
        positions: network.max_position_embeddings,
        pad_token: network.pad_token_id,
        naming: Naming {
            prefix: "model.",
            probe: "embeddings.tok_embeddings.weight",
            source,
            unused: &["decoder."],
        },
        head: head(config, eps)?,
        network: Settings::ModernBert(network),
    })
}

/// The network asks with a prefix of its own, and the description has one already.
fn source(name: &str) -> Source {
    super::as_asked(name.strip_prefix("model.").unwrap_or(name))
}

fn head(config: &Config, eps: f64) -> Result<Head, ModelError> {
    let pools = match config.find_word("classifier_pooling")?.as_deref() {
        None | Some("cls") => HeadPooling::FirstToken,
        Some("mean") => HeadPooling::Mean,
        Some(other) => return Err(unsupported(format!("classifier_pooling = {other}"), "cls, mean")),
    };
    let bias = if config.flag("classifier_bias", false)? { Bias::Has } else { Bias::HasNot };
    let activation = Activation::read(config, "classifier_activation")?;
    Ok(Head {
        pools,
        dense: ("head.dense", bias),
        activation,
        norm: Some(("head.norm", eps)),
        out: "classifier",
    })
}

/// Every how many layers one looks at the whole text, from the number or from the list of kinds.
fn global_every(config: &Config, layers: usize) -> Result<usize, ModelError> {
    let every = config.find_size("global_attn_every_n_layers")?;
    let Some(kinds) = config.find_words("layer_types")? else { return Ok(every.unwrap_or(3)) };
    let is_global: Vec<bool> = kinds.iter().map(|kind| kind == "full_attention").collect();
    let fits = |every: &usize| (0..layers).all(|layer| is_global.get(layer) == Some(&(layer % every == 0)));
    // A list without a second global layer fits the number of layers.
    let found = (1..=layers).find(fits).filter(|_| kinds.len() == layers);
    found.ok_or_else(|| {
        unsupported(
            "layer_types as given".to_owned(),
            "full_attention in the first and then every n-th layer",
        )
    })
}

/// The bases of the rotary positions, of global and of local layers, in either spelling.
fn rope_thetas(config: &Config) -> Result<(f64, f64), ModelError> {
    let parameters = config.find_object("rope_parameters")?;
    let read = |kind: &str, old: &str, default: f64| -> Result<f64, ModelError> {
        let old = config.find_number(old)?;
        let new = match &parameters {
            Some(parameters) => parameters.find_object(kind)?,
            None => None,
        };
        let theta = match new {
            Some(rope) => {
                rope.only("rope_type", &"default".into())?;
                let theta = rope.find_number("rope_theta")?;
                rope.finish()?;
                theta
            }
            None => None,
        };
        Ok(theta.or(old).unwrap_or(default))
    };
    let global = read("full_attention", "global_rope_theta", 160_000.0)?;
    let local = read("sliding_attention", "local_rope_theta", 10_000.0)?;
    parameters.map_or(Ok(()), |parameters| parameters.finish())?;
    Ok((global, local))
}
