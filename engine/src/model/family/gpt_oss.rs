//! gpt-oss: sinks, alternating sliding windows, biases everywhere, a clamped `SwiGLU` with gate and up in turn.

use kernels::{Activation, GateUp, Gating, Reach, Score};

use super::shape;
use super::{Config, Description, ModelError};
use crate::model::describe::{ExpertLayer, ExpertNames, ExpertTensors, Heads};
use crate::model::weights::Stored;

pub(super) fn describe(config: &Config) -> Result<Description, ModelError> {
    // The same number in an older spelling, and the context before YaRN, which rope settings repeat.
    config.ignore(&["experts_per_token", "initial_context_length"]);
    let window = shape::sliding_window(config)?;
    let types =
        shape::layer_types(config, |i| if i % 2 == 0 { "sliding_attention" } else { "full_attention" })?;
    let experts = ExpertLayer {
        activation: Activation::ClampedSwiglu {
            limit: config.find_number("swiglu_limit")?.unwrap_or(7.0) as f32,
            alpha: config.find_number("swiglu_alpha")?.unwrap_or(1.702) as f32,
        },
        ..shape::experts(
            config.size("num_local_experts")?,
            config.size("intermediate_size")?,
            Gating::plain(config.size("num_experts_per_tok")?, Score::SoftmaxOfChosen),
            ExpertNames {
                router: "router",
                router_bias: true,
                tensors: ExpertTensors::Fused {
                    gate_up: "experts.gate_up_proj",
                    down: "experts.down_proj",
                    stored: Stored::Columns,
                    rows: GateUp::Pairs,
                    bias: true,
                },
                ..ExpertNames::MLP
            },
        )
    };
    let bias = config.flag("attention_bias", true)?;
    let heads = Heads { bias, output_bias: bias, sinks: true, ..shape::heads(config)? };
    let feed_forwards = shape::sparse(config, experts, |_| true)?;
    let mut description = shape::llama(config, heads, feed_forwards)?;
    for (layer, kind) in description.layers.iter_mut().zip(types) {
        layer.reach = match kind.as_str() {
            "sliding_attention" => window,
            "full_attention" => Reach::All,
            other => return Err(shape::unknown_layer(other, "sliding_attention, full_attention")),
        };
    }
    Ok(description)
}
