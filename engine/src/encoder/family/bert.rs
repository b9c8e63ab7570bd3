//! BERT: learned positions, a norm after each part, two kinds of token.

use candle_transformers::models::bert::{Config as Network, HiddenAct, PositionEmbeddingType};

use super::{Activation, Bias, Description, Head, HeadPooling, Naming, Settings, as_asked, unsupported};
use crate::model::{Config, ModelError};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    super::refuse_other_uses(config)?;
    let pad_token = super::pad_token(config, 0)?;
    let network = Network {
        vocab_size: config.size("vocab_size")?,
        hidden_size: config.size("hidden_size")?,
        num_hidden_layers: config.size("num_hidden_layers")?,
        num_attention_heads: config.size("num_attention_heads")?,
        intermediate_size: config.size("intermediate_size")?,
        hidden_act: hidden_act(config, "hidden_act")?,
        max_position_embeddings: config.size("max_position_embeddings")?,
        type_vocab_size: config.find_size("type_vocab_size")?.unwrap_or(2),
        layer_norm_eps: config.find_number("layer_norm_eps")?.unwrap_or(1e-12),
        pad_token_id: pad_token as usize,
        ..without_effect()
    };
    let naming = Naming {
        prefix: "bert.",
        probe: "embeddings.word_embeddings.weight",
        source: as_asked,
        unused: &["pooler.", "embeddings.position_ids", "cls."],
    };
    let head = Head {
        pools: HeadPooling::FirstToken,
        dense: ("bert.pooler.dense", Bias::Has),
        activation: Activation::Tanh,
        norm: None,
        out: "classifier",
    };
    Ok(of_network(network, pad_token, naming, head))
}

/// The description of a network that candle-transformers runs as BERT.
pub(super) fn of_network(network: Network, pad_token: u32, naming: Naming, head: Head) -> Description {
    Description {
        hidden_size: network.hidden_size,
        attention_heads: network.num_attention_heads,
        // Before and after the mask, and the three steps of the softmax.
        score_copies: 5,
        vocabulary: network.vocab_size,
        positions: network.max_position_embeddings,
        pad_token,
        naming,
        head,
        network: Settings::Bert(network),
    }
}

/// The fields that only training reads, and those that select the one code path there is.
pub(super) fn without_effect() -> Network {
    Network {
        position_embedding_type: PositionEmbeddingType::Absolute,
        use_cache: false,
        // A model type makes the loader try a second set of names and hide which one was wrong.
        model_type: None,
        ..Network::default()
    }
}

/// The activation in the network's terms.
pub(super) fn hidden_act(config: &Config, key: &str) -> Result<HiddenAct, ModelError> {
    match Activation::read(config, key)? {
        Activation::Gelu => Ok(HiddenAct::Gelu),
        Activation::GeluTanh => Ok(HiddenAct::GeluApproximate),
        Activation::Relu => Ok(HiddenAct::Relu),
        other => Err(unsupported(format!("{key} = {other:?}"), "gelu, gelu_new, relu")),
    }
}
