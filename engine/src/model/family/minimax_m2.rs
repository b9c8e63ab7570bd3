//! `MiniMax`-M2: queries and keys normalised over all heads at once, heads rotated in part, a sigmoid router with
//! a bias on the choice, in Mixtral's names.

use kernels::{Gating, Score};

use super::shape;
use super::{Config, Description, ModelError};
use crate::model::describe::{ExpertNames, HeadNorm, Heads};

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    config.only("scoring_func", &"sigmoid".into())?;
    config.only("use_qk_norm", &true.into())?;
    config.only("use_routing_bias", &true.into())?;
    config.only("qk_norm_type", &"per_layer".into())?;
    config.only("shared_intermediate_size", &0.into())?;
    full_attention_only(config)?;
    // Modules that predict further tokens; checkpoints name them without their tensors.
    config.ignore(&["use_mtp", "num_mtp_modules", "mtp_transformer_layers"]);
    let top_k = config.size("num_experts_per_tok")?;
    let experts = shape::experts(
        config.size("num_local_experts")?,
        config.size("intermediate_size")?,
        Gating { renormalise: true, ..Gating::plain(top_k, Score::Sigmoid) },
        ExpertNames { choice_bias: Some("e_score_correction_bias"), ..ExpertNames::BLOCK_SPARSE },
    );
    let heads = Heads { norm: HeadNorm::AllHeads, ..shape::heads(config)? };
    shape::llama(config, heads, shape::sparse(config, experts, |_| true)?)
}

/// The list has 1 for a layer of full attention and 0 for one of linear attention, as in `MiniMax`-01.
fn full_attention_only(config: &Config) -> Result<(), ModelError> {
    match config.find_sizes("attn_type_list")?.into_iter().flatten().find(|kind| *kind != 1) {
        Some(kind) => Err(ModelError::Unsupported {
            what: format!("a layer of attention type {kind}"),
            supported: "1, full attention".to_owned(),
        }),
        None => Ok(()),
    }
}
