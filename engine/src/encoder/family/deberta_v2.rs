//! DeBERTa v2 and v3: attention by content and by distance, with distances in buckets that widen.

use candle_transformers::models::debertav2::{Config as Network, HiddenAct};

use super::{Activation, Bias, Description, Head, HeadPooling, Naming, Settings, as_asked, unsupported};
use crate::model::{Config, ModelError};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    super::refuse_other_uses(config)?;
    config.ignore(&["cls_dropout", "conv_act", "conv_groups", "legacy", "pooler_dropout"]);
    let network = read_network(config)?;
    refuse_what_the_network_lacks(config, &network)?;
    Ok(Description {
        hidden_size: network.hidden_size,
        attention_heads: network.num_attention_heads,
        // By content, by distance both ways with an index of each, and the softmax under its mask.
        score_copies: 8,
        vocabulary: network.vocab_size,
        positions: network.max_position_embeddings,
        pad_token: super::pad_token(config, 0)?,
        naming: Naming {
            prefix: "deberta.",
            probe: "embeddings.word_embeddings.weight",
            source: as_asked,
            unused: &["embeddings.position_ids", "cls.", "lm_predictions.", "mask_predictions."],
        },
        head: Head {
            pools: HeadPooling::FirstToken,
            dense: ("pooler.dense", Bias::Has),
            activation: Activation::read(config, "pooler_hidden_act")?,
            norm: None,
            out: "classifier",
        },
        network: Settings::DebertaV2(Box::new(network)),
    })
}

fn refuse_what_the_network_lacks(config: &Config, network: &Network) -> Result<(), ModelError> {
    // The layer of some v2 models that mixes neighbouring tokens.
    config.only("conv_kernel_size", &0.into())?;
    // It adds absolute positions to one text only and fails on a batch. No published model has them.
    if config.flag("position_biased_input", true)? {
        return Err(unsupported("position_biased_input = true".to_owned(), "false"));
    }
    for width in ["embedding_size", "pooler_hidden_size"] {
        config.only(width, &network.hidden_size.into())?;
    }
    let head_size = network.hidden_size / network.num_attention_heads.max(1);
    config.only("attention_head_size", &head_size.into())
}

fn read_network(config: &Config) -> Result<Network, ModelError> {
    Ok(Network {
        vocab_size: config.size("vocab_size")?,
        hidden_size: config.size("hidden_size")?,
        num_hidden_layers: config.size("num_hidden_layers")?,
        num_attention_heads: config.size("num_attention_heads")?,
        intermediate_size: config.size("intermediate_size")?,
        hidden_act: match Activation::read(config, "hidden_act")? {
            Activation::Gelu => HiddenAct::Gelu,
            Activation::GeluTanh => HiddenAct::GeluApproximate,
            Activation::Relu => HiddenAct::Relu,
            other => return Err(unsupported(format!("hidden_act = {other:?}"), "gelu, gelu_new, relu")),
        },
        max_position_embeddings: config.find_size("max_position_embeddings")?.unwrap_or(512),
        type_vocab_size: config.find_size("type_vocab_size")?.unwrap_or(0),
        layer_norm_eps: config.find_number("layer_norm_eps")?.unwrap_or(1e-7),
        relative_attention: config.flag("relative_attention", false)?,
        max_relative_positions: distance(config, "max_relative_positions")?,
        position_biased_input: false,
        pos_att_type: attention_kinds(config)?,
        position_buckets: Some(distance(config, "position_buckets")?),
        share_att_key: Some(config.flag("share_att_key", false)?),
        norm_rel_ebd: Some(norm_of_distances(config)?),
        // What only training and the library's own heads read.
        pad_token_id: None,
        hidden_dropout_prob: 0.0,
        attention_probs_dropout_prob: 0.0,
        initializer_range: 0.0,
        attention_head_size: None,
        embedding_size: None,
        conv_kernel_size: None,
        conv_groups: None,
        conv_act: None,
        id2label: None,
        label2id: None,
        pooler_dropout: None,
        pooler_hidden_act: None,
        pooler_hidden_size: None,
        cls_dropout: None,
    })
}

/// A number of positions; absent and -1 are none.
fn distance(config: &Config, key: &str) -> Result<isize, ModelError> {
    let number = config.find_number(key)?.unwrap_or(-1.0);
    if number.fract() == 0.0 && (-1.0..=1e6).contains(&number) {
        return Ok(number as isize);
    }
    Err(unsupported(format!("{key} = {number}"), "a whole number, or -1"))
}

/// The kinds of attention by distance: a list, or one string with bars between them.
fn attention_kinds(config: &Config) -> Result<Vec<String>, ModelError> {
    let kinds = match config.find_word("pos_att_type") {
        Ok(Some(text)) => {
            text.split('|').map(|kind| kind.trim().to_lowercase()).filter(|kind| !kind.is_empty()).collect()
        }
        Ok(None) => Vec::new(),
        Err(_) => config.find_words("pos_att_type")?.unwrap_or_default(),
    };
    match kinds.iter().find(|kind| !matches!(kind.as_str(), "c2p" | "p2c")) {
        Some(kind) => Err(unsupported(format!("pos_att_type with {kind}"), "c2p, p2c")),
        None => Ok(kinds),
    }
}

fn norm_of_distances(config: &Config) -> Result<String, ModelError> {
    let norm = config.find_word("norm_rel_ebd")?.unwrap_or_else(|| "none".to_owned());
    match norm.as_str() {
        "none" | "layer_norm" => Ok(norm),
        other => Err(unsupported(format!("norm_rel_ebd = {other}"), "none, layer_norm")),
    }
}
