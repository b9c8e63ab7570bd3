//! A layer's feed-forward: one gated network, or experts behind a router.

use candle_core::Tensor;
use kernels::{Activation, Experts, Gating, Weight, Weighted};

use super::ModelError;
use super::describe::{ExpertLayer, ExpertNames, FeedForward as Kind, SharedExpert};
use super::weights::Weights;

/// The loaded feed-forward of one layer.
#[derive(Debug)]
pub(super) enum FeedForward {
    Dense(GatedNetwork),
    Experts { router: Router, experts: Experts, shared: Option<Shared> },
}

/// `down(silu(gate(x)) * up(x))`.
#[derive(Debug)]
pub(super) struct GatedNetwork {
    /// `[2 I, C]`: the gate's rows, then the up projection's.
    gate_up: Weight,
    /// `[C, I]`.
    down: Weight,
}

#[derive(Debug)]
pub(super) struct Router {
    /// `[E, C]`.
    weight: Weight,
    /// `[E]`.
    choice_bias: Option<Tensor>,
    gating: Gating,
}

/// The expert that every token passes, and the gate `[1, C]` that scales it.
#[derive(Debug)]
pub(super) struct Shared {
    network: GatedNetwork,
    gate: Option<Weight>,
}

impl FeedForward {
    /// Loads the feed-forward of the layer whose names begin with `prefix`.
    pub(super) fn load(
        weights: &Weights,
        prefix: &str,
        kind: &Kind,
        width: usize,
    ) -> Result<Self, ModelError> {
        match kind {
            Kind::Dense { inner } => {
                Ok(Self::Dense(GatedNetwork::load(weights, &format!("{prefix}.mlp"), *inner, width)?))
            }
            Kind::Experts(layer) => {
                let module = format!("{prefix}.{}", layer.names.module);
                let choice_bias = match layer.names.choice_bias {
                    Some(name) => Some(weights.vector(&format!("{module}.{name}"), &[layer.count])?),
                    None => None,
                };
                let weight = weights.matrix(&[(format!("{module}.gate.weight"), layer.count)], width)?;
                let router = Router { weight, choice_bias, gating: layer.gating };
                let shared = match layer.shared {
                    Some(shared) => Some(Shared::load(weights, &module, shared, width)?),
                    None => None,
                };
                Ok(Self::Experts { router, experts: load_experts(weights, &module, layer, width)?, shared })
            }
        }
    }

    /// Returns the feed-forward of `x [T, C]`.
    pub(super) fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        match self {
            Self::Dense(network) => network.forward(x),
            Self::Experts { router, experts, shared } => {
                let logits = kernels::linear(x, &router.weight, None)?;
                let routing = kernels::route(&logits, router.choice_bias.as_ref(), router.gating)?;
                let routed = kernels::experts(x, experts, &routing)?;
                match shared {
                    Some(shared) => Ok((routed + shared.forward(x)?)?),
                    None => Ok(routed),
                }
            }
        }
    }
}

impl GatedNetwork {
    fn load(weights: &Weights, module: &str, inner: usize, width: usize) -> Result<Self, ModelError> {
        let named = |name: &str| format!("{module}.{name}.weight");
        let parts = [(named("gate_proj"), inner), (named("up_proj"), inner)];
        let gate_up = weights.matrix(&parts, width)?;
        Ok(Self { gate_up, down: weights.matrix(&[(named("down_proj"), width)], inner)? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let hidden = kernels::gate(&kernels::linear(x, &self.gate_up, None)?, Activation::Silu)?;
        Ok(kernels::linear(&hidden, &self.down, None)?)
    }
}

impl Shared {
    fn load(weights: &Weights, module: &str, shared: SharedExpert, width: usize) -> Result<Self, ModelError> {
        let gate = match shared.gate {
            Some(name) => Some(weights.matrix(&[(format!("{module}.{name}.weight"), 1)], width)?),
            None => None,
        };
        let network =
            GatedNetwork::load(weights, &format!("{module}.{}", shared.module), shared.inner, width)?;
        Ok(Self { network, gate })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let out = self.network.forward(x)?;
        let Some(gate) = &self.gate else { return Ok(out) };
        let logit = kernels::linear(x, gate, None)?;
        let sigmoid = (logit.neg()?.exp()? + 1.0)?.recip()?;
        Ok(out.broadcast_mul(&sigmoid)?)
    }
}

/// Gathers a layer's experts into the canonical layout.
fn load_experts(
    weights: &Weights,
    module: &str,
    layer: &ExpertLayer,
    width: usize,
) -> Result<Experts, ModelError> {
    let ExpertLayer { count, inner, names, .. } = *layer;
    let ExpertNames { gate, up, down, .. } = names;
    let named = |expert: usize, name: &str| format!("{module}.experts.{expert}.{name}.weight");
    let gate_up: Vec<_> =
        (0..count).flat_map(|expert| [(named(expert, gate), inner), (named(expert, up), inner)]).collect();
    let down: Vec<_> = (0..count).map(|expert| (named(expert, down), width)).collect();
    Ok(Experts {
        gate_up: weights.stack(&gate_up, count, width)?,
        down: weights.stack(&down, count, inner)?,
        gate_up_bias: None,
        down_bias: None,
        activation: Activation::Silu,
        weighted: Weighted::Output,
    })
}
