//! The network: token ids to one vector for each token, by candle-transformers.

use candle_core::Tensor;
use candle_nn::VarBuilder;
use candle_transformers::models::{bert, debertav2, modernbert, xlm_roberta};

use super::family::Settings;
use crate::model::ModelError;

/// A loaded network. One variant for each forward pass that wants to be called in its own way.
pub(super) enum Network {
    Bert(bert::BertModel),
    Roberta(xlm_roberta::XLMRobertaModel),
    ModernBert(modernbert::ModernBert),
    DebertaV2(Box<debertav2::DebertaV2Model>),
}

impl Network {
    /// Takes the network's tensors from `builder`.
    pub(super) fn load(settings: &Settings, builder: VarBuilder<'_>) -> Result<Self, ModelError> {
        Ok(match settings {
            Settings::Bert(config) => Self::Bert(bert::BertModel::load(builder, config)?),
            Settings::Roberta(config) => Self::Roberta(xlm_roberta::XLMRobertaModel::new(config, builder)?),
            Settings::ModernBert(config) => {
                require_norms(config, &builder)?;
                Self::ModernBert(modernbert::ModernBert::load(builder, config)?)
            }
            Settings::DebertaV2(config) => {
                Self::DebertaV2(Box::new(debertav2::DebertaV2Model::load(builder, config)?))
            }
        })
    }

    /// The vectors `[B, T, H]` of the tokens `ids`, where `mask` is 1, both `[B, T]` u32. Where it is 0, whatever
    /// comes out has no meaning, and it has no part in the others.
    pub(super) fn forward(&self, ids: &Tensor, mask: &Tensor) -> Result<Tensor, ModelError> {
        Ok(match self {
            Self::Bert(network) => network.forward(ids, &ids.zeros_like()?, Some(mask))?,
            Self::Roberta(network) => network.forward(ids, mask, &ids.zeros_like()?, None, None, None)?,
            Self::ModernBert(network) => network.forward(ids, mask)?,
            Self::DebertaV2(network) => network.forward(ids, None, Some(mask.clone()))?,
        })
    }
}

/// The library takes a layer whose first norm is missing or damaged for one without. Only layer 0 has none.
fn require_norms(config: &modernbert::Config, builder: &VarBuilder<'_>) -> Result<(), ModelError> {
    for layer in 1..config.num_hidden_layers {
        builder.get(config.hidden_size, &format!("model.layers.{layer}.attn_norm.weight"))?;
    }
    Ok(())
}
