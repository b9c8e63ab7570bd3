//! DistilBERT: BERT under other names, without kinds of token.
//!
//! It runs on candle-transformers' BERT. The library's own DistilBERT computes `gelu` by the hyperbolic tangent, where
//! the models were trained with the exact one, and reads the attention mask the other way round.

use candle_transformers::models::bert::Config as Network;

use super::{Activation, Bias, Description, Head, HeadPooling, Naming, Source, bert};
use crate::model::{Config, ModelError};

/// DistilBERT's config has no field for it.
const LAYER_NORM_EPS: f64 = 1e-12;

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    super::refuse_other_uses(config)?;
    config.ignore(&["dropout", "qa_dropout", "seq_classif_dropout"]);
    // Only how the table of positions was made: it is in the checkpoint in both cases.
    config.ignore(&["sinusoidal_pos_embds"]);
    let pad_token = super::pad_token(config, 0)?;
    let network = Network {
        vocab_size: config.size("vocab_size")?,
        hidden_size: config.size("dim")?,
        num_hidden_layers: config.size("n_layers")?,
        num_attention_heads: config.size("n_heads")?,
        intermediate_size: config.size("hidden_dim")?,
        hidden_act: bert::hidden_act(config, "activation")?,
        max_position_embeddings: config.size("max_position_embeddings")?,
        type_vocab_size: 1,
        layer_norm_eps: LAYER_NORM_EPS,
        pad_token_id: pad_token as usize,
        ..bert::without_effect()
    };
    let naming = Naming {
        prefix: "distilbert.",
        probe: "embeddings.word_embeddings.weight",
        source,
        unused: &["embeddings.position_ids", "vocab_"],
    };
    let head = Head {
        pools: HeadPooling::FirstToken,
        dense: ("pre_classifier", Bias::Has),
        activation: Activation::Relu,
        norm: None,
        out: "classifier",
    };
    Ok(bert::of_network(network, pad_token, naming, head))
}

/// The parts of a layer, as BERT and as DistilBERT names them.
const PARTS: [(&str, &str); 8] = [
    ("attention.self.query", "attention.q_lin"),
    ("attention.self.key", "attention.k_lin"),
    ("attention.self.value", "attention.v_lin"),
    ("attention.output.dense", "attention.out_lin"),
    ("attention.output.LayerNorm", "sa_layer_norm"),
    ("intermediate.dense", "ffn.lin1"),
    ("output.dense", "ffn.lin2"),
    ("output.LayerNorm", "output_layer_norm"),
];

fn source(name: &str) -> Source {
    if name.starts_with("embeddings.token_type_embeddings.") {
        return Source::Zeros;
    }
    let Some((layer, rest)) = name.strip_prefix("encoder.layer.").and_then(|rest| rest.split_once('.'))
    else {
        return super::as_asked(name);
    };
    let part = PARTS.iter().find_map(|(theirs, ours)| Some(format!("{ours}{}", rest.strip_prefix(theirs)?)));
    Source::Tensor(format!("transformer.layer.{layer}.{}", part.as_deref().unwrap_or(rest)))
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::source;

    #[test]
    fn each_part_of_a_layer_goes_by_its_own_name() {
        let named = |name: &str| match source(name) {
            Source::Tensor(name) => name,
            Source::Zeros => "zeros".to_owned(),
        };
        assert_eq!(
            named("encoder.layer.3.attention.output.dense.bias"),
            "transformer.layer.3.attention.out_lin.bias"
        );
        assert_eq!(
            named("encoder.layer.10.output.LayerNorm.weight"),
            "transformer.layer.10.output_layer_norm.weight"
        );
        assert_eq!(named("encoder.layer.0.output.dense.weight"), "transformer.layer.0.ffn.lin2.weight");
        assert_eq!(named("embeddings.LayerNorm.weight"), "embeddings.LayerNorm.weight");
        assert_eq!(named("embeddings.token_type_embeddings.weight"), "zeros");
    }
}
