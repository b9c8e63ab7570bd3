//! GLM-4.5 and 4.6: heads rotated in part, a sigmoid router with a bias on the choice, shared experts.

use super::{Config, Description, ModelError};
use super::{deepseek, shape};
use crate::model::describe::{Attention, HeadNorm, Heads};
use crate::model::rope;

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    let use_norm = config.flag("use_qk_norm", false)?;
    let heads = Heads {
        norm: if use_norm { HeadNorm::PerHead } else { HeadNorm::None },
        bias: config.flag("attention_bias", false)?,
        ..shape::heads(config)?
    };
    let defaults = rope::Defaults { part: 0.5, ..rope::Defaults::LLAMA };
    let rope = rope::read(config, heads.dim, defaults)?;
    let feed_forwards = deepseek::corrected_experts(config, 1.0, 1)?;
    let mut description = shape::network(config, Attention::Grouped(heads), rope, feed_forwards)?;
    description.draft_layers = config.find_size("num_nextn_predict_layers")?.unwrap_or(0);
    Ok(description)
}
