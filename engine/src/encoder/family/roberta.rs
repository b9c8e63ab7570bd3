//! RoBERTa, XLM-RoBERTa and CamemBERT: BERT whose positions begin behind the padding token's.

use candle_nn::Activation as Function;
use candle_transformers::models::xlm_roberta::Config as Network;

use super::{Activation, Bias, Description, Head, HeadPooling, Naming, Settings, as_asked};
use crate::model::{Config, ModelError};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    super::refuse_other_uses(config)?;
    let pad_token = super::pad_token(config, 1)?;
    let (hidden_size, attention_heads) = (config.size("hidden_size")?, config.size("num_attention_heads")?);
    let (vocabulary, positions) = (config.size("vocab_size")?, config.size("max_position_embeddings")?);
    let network = Network {
        hidden_size,
        layer_norm_eps: config.find_number("layer_norm_eps")?.unwrap_or(1e-12),
        attention_probs_dropout_prob: 0.0,
        hidden_dropout_prob: 0.0,
        num_attention_heads: attention_heads,
        position_embedding_type: "absolute".to_owned(),
        intermediate_size: config.size("intermediate_size")?,
        hidden_act: match Activation::read(config, "hidden_act")? {
            Activation::GeluTanh => Function::NewGelu,
            Activation::Relu => Function::Relu,
            Activation::Gelu => Function::Gelu,
            other => {
                return Err(super::unsupported(format!("hidden_act = {other:?}"), "gelu, gelu_new, relu"));
            }
        },
        num_hidden_layers: config.size("num_hidden_layers")?,
        vocab_size: vocabulary,
        max_position_embeddings: positions,
        type_vocab_size: config.find_size("type_vocab_size")?.unwrap_or(2),
        pad_token_id: pad_token,
    };
    Ok(Description {
        network: Settings::Roberta(network),
        hidden_size,
        attention_heads,
        // Before and after the mask, and after the softmax.
        score_copies: 3,
        vocabulary,
        // The first token has the position after the padding token's id.
        positions: positions.saturating_sub(pad_token as usize + 1),
        pad_token,
        naming: Naming {
            prefix: "roberta.",
            probe: "embeddings.word_embeddings.weight",
            source: as_asked,
            unused: &["pooler.", "embeddings.position_ids", "lm_head."],
        },
        head: Head {
            pools: HeadPooling::FirstToken,
            dense: ("classifier.dense", Bias::Has),
            activation: Activation::Tanh,
            norm: None,
            out: "classifier.out_proj",
        },
    })
}
