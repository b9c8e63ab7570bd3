//! `DeepSeek`-V2, V3, R1 and V3.1, Kimi-K2 and Mistral Large 3: latent attention, experts chosen by groups.

use kernels::{Gating, GroupWorth, Groups, RopePairs, Score};

use super::shape;
use super::{Config, Description, ModelError};
use crate::model::describe::{Attention, ExpertLayer, ExpertNames, FeedForward, Latent, SharedExpert};
use crate::model::rope;

/// V2 and V2-Lite: probabilities over all experts; the larger model chooses groups by their best expert.
pub(super) fn describe_v2(config: &Config) -> Result<Description, ModelError> {
    config.only("scoring_func", &"softmax".into())?;
    // The reference reads this field and has no use for it.
    config.flag("norm_topk_prob", false)?;
    config.only("mlp_bias", &false.into())?;
    let method = config.find_word("topk_method")?.unwrap_or_else(|| "greedy".to_owned());
    let groups = groups(config, GroupWorth::Best)?;
    let groups = match method.as_str() {
        "greedy" => None,
        "group_limited_greedy" => groups,
        other => {
            return Err(ModelError::Unsupported {
                what: format!("topk_method {other:?}"),
                supported: "greedy, group_limited_greedy".to_owned(),
            });
        }
    };
    let gating = Gating {
        groups,
        scale: config.find_number("routed_scaling_factor")?.unwrap_or(1.0) as f32,
        ..Gating::plain(config.size("num_experts_per_tok")?, Score::Softmax)
    };
    let names = ExpertNames::MLP;
    let feed_forwards = shared_experts(config, gating, names, 0)?;
    latent(config, RopePairs::Neighbours, feed_forwards)
}

/// V3 and what followed it: sigmoid scores, a bias on the choice, groups by their best two.
pub(super) fn describe_v3(config: &Config) -> Result<Description, ModelError> {
    config.only("scoring_func", &"sigmoid".into())?;
    config.only("topk_method", &"noaux_tc".into())?;
    let interleaved = config.flag("rope_interleave", true)?;
    let pairs = if interleaved { RopePairs::Neighbours } else { RopePairs::Halves };
    let feed_forwards = corrected_experts(config, 2.5, 3)?;
    let mut description = latent(config, pairs, feed_forwards)?;
    let drafts = config.find_size("num_nextn_predict_layers")?;
    let common = config.find_size("num_mtp_layers")?;
    description.draft_layers = drafts.or(common).unwrap_or(0);
    Ok(description)
}

/// Experts scored by sigmoid and chosen with a bias, after `first` dense layers by default.
pub(super) fn corrected_experts(
    config: &Config,
    scale: f64,
    first: usize,
) -> Result<Vec<FeedForward>, ModelError> {
    let gating = Gating {
        groups: groups(config, GroupWorth::BestTwo)?,
        renormalise: config.flag("norm_topk_prob", true)?,
        scale: config.find_number("routed_scaling_factor")?.unwrap_or(scale) as f32,
        ..Gating::plain(config.size("num_experts_per_tok")?, Score::Sigmoid)
    };
    let names = ExpertNames { choice_bias: Some("gate.e_score_correction_bias"), ..ExpertNames::MLP };
    shared_experts(config, gating, names, first)
}

/// The config's groups of experts; one group is no grouping.
pub(super) fn groups(config: &Config, worth: GroupWorth) -> Result<Option<Groups>, ModelError> {
    let (count, kept) = (config.find_size("n_group")?, config.find_size("topk_group")?);
    Ok(match (count, kept) {
        (Some(count), Some(kept)) if count > 1 => Some(Groups { count, kept, worth }),
        _ => None,
    })
}

/// Experts beside a shared one, from layer `first_k_dense_replace` on.
pub(super) fn shared_experts(
    config: &Config,
    gating: Gating,
    names: ExpertNames,
    first: usize,
) -> Result<Vec<FeedForward>, ModelError> {
    config.only("moe_layer_freq", &1.into())?;
    config.only("ep_size", &1.into())?;
    config.ignore(&["aux_loss_alpha", "seq_aux"]);
    let inner = config.size("moe_intermediate_size")?;
    let count = shape::expert_count(config, "n_routed_experts")?;
    let shared = config.find_size("n_shared_experts")?.unwrap_or(1);
    let shared = SharedExpert { inner: inner * shared, module: "shared_experts", gate: None };
    let experts = ExpertLayer {
        shared: (shared.inner > 0).then_some(shared),
        ..shape::experts(count, inner, gating, names)
    };
    let first = config.find_size("first_k_dense_replace")?.unwrap_or(first);
    shape::sparse(config, experts, |i| i >= first)
}

/// Latent attention around these feed-forwards.
pub(super) fn latent(
    config: &Config,
    pairs: RopePairs,
    feed_forwards: Vec<FeedForward>,
) -> Result<Description, ModelError> {
    let rope_dim = config.size("qk_rope_head_dim")?;
    let plain_dim = config.size("qk_nope_head_dim")?;
    // Latent attention has neither; newer configs repeat the sizes above under these names.
    config.ignore(&["num_key_value_heads", "head_dim", "qk_head_dim"]);
    let rope = rope::read_width(config, rope_dim)?;
    let scale = ((plain_dim + rope_dim) as f32).sqrt().recip() * rope.score_factor;
    let attention = Latent {
        heads: config.size("num_attention_heads")?,
        query_rank: config.find_size("q_lora_rank")?,
        rank: config.size("kv_lora_rank")?,
        plain_dim,
        rope_dim,
        value_dim: config.size("v_head_dim")?,
        scale,
        pairs,
        bias: config.flag("attention_bias", false)?,
    };
    shape::network(config, Attention::Latent(attention), rope, feed_forwards)
}
