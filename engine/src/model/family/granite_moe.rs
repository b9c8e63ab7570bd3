//! Granite 3 with experts: Mixtral with factors on embedding, attention, residuals and logits; fused experts.

use kernels::{GateUp, Gating, Score};

use super::shape;
use super::{Config, Description, ModelError};
use crate::model::describe::{ExpertNames, ExpertTensors, Heads, Scales};
use crate::model::weights::Stored;

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    let factor = |key: &str| Ok::<_, ModelError>(config.find_number(key)?.unwrap_or(1.0) as f32);
    let experts = shape::experts(
        config.size("num_local_experts")?,
        config.size("intermediate_size")?,
        Gating::plain(config.size("num_experts_per_tok")?, Score::SoftmaxOfChosen),
        ExpertNames {
            router: "router.layer",
            tensors: ExpertTensors::Fused {
                gate_up: "input_linear.weight",
                down: "output_linear.weight",
                stored: Stored::Rows,
                rows: GateUp::Halves,
                bias: false,
            },
            ..ExpertNames::BLOCK_SPARSE
        },
    );
    let bias = config.flag("attention_bias", false)?;
    let heads =
        Heads { scale: factor("attention_multiplier")?, bias, output_bias: bias, ..shape::heads(config)? };
    let mut description = shape::llama(config, heads, shape::sparse(config, experts, |_| true)?)?;
    description.scales = Scales {
        embedding: factor("embedding_multiplier")?,
        residual: factor("residual_multiplier")?,
        logits: 1.0 / factor("logits_scaling")?,
        logits_cap: None,
    };
    Ok(description)
}
