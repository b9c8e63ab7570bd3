//! Mistral Small 4: latent attention whose queries grow beyond the original context, softmax router.

use kernels::{Gating, GroupWorth, RopePairs, Score};

use super::deepseek;
use super::{Config, Description, ModelError};
use crate::model::describe::ExpertNames;

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    let gating = Gating {
        groups: deepseek::groups(config, GroupWorth::BestTwo)?,
        renormalise: config.flag("norm_topk_prob", true)?,
        scale: config.find_number("routed_scaling_factor")?.unwrap_or(1.0) as f32,
        ..Gating::plain(config.size("num_experts_per_tok")?, Score::Softmax)
    };
    let interleaved = config.flag("rope_interleave", true)?;
    let pairs = if interleaved { RopePairs::Neighbours } else { RopePairs::Halves };
    let feed_forwards = deepseek::shared_experts(config, gating, ExpertNames::MLP, 0)?;
    deepseek::latent(config, pairs, feed_forwards)
}
