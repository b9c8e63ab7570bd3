//! A layer's feed-forward: one gated network, or experts behind a router.

use candle_core::Tensor;
use kernels::{Activation, Experts, GateUp, Gating, Routing, Weight};

use super::ModelError;
use super::describe::{Dense, ExpertLayer, ExpertTensors, FeedForward as Kind, SharedExpert};
use super::weights::Weights;

/// The loaded feed-forward of one layer.
#[derive(Debug)]
pub(super) enum FeedForward {
    Dense(GatedNetwork),
    Experts(Box<ExpertNetwork>),
}

/// A router, its experts, and the expert that every token passes.
#[derive(Debug)]
pub(super) struct ExpertNetwork {
    router: Router,
    experts: Experts,
    shared: Option<Shared>,
}

/// `down(act(gate(x), up(x)))`.
#[derive(Debug)]
pub(super) struct GatedNetwork {
    /// `[2 I, C]`: the gate's rows, then the up projection's.
    gate_up: Weight,
    /// `[C, I]`.
    down: Weight,
    activation: Activation,
}

#[derive(Debug)]
pub(super) struct Router {
    /// `[E, C]`.
    weight: Weight,
    /// `[E]`.
    bias: Option<Tensor>,
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
            Kind::Dense(Dense { inner, activation, module }) => {
                let module = format!("{prefix}.{module}");
                Ok(Self::Dense(GatedNetwork::load(weights, &module, *inner, width, *activation)?))
            }
            Kind::Experts(layer) => {
                let module = format!("{prefix}.{}", layer.names.module);
                let shared = match layer.shared {
                    Some(shared) => Some(Shared::load(weights, &module, shared, width, layer.activation)?),
                    None => None,
                };
                let router = Router::load(weights, &module, layer, width)?;
                let experts = load_experts(weights, &module, layer, width)?;
                Ok(Self::Experts(Box::new(ExpertNetwork { router, experts, shared })))
            }
        }
    }

    /// Returns the feed-forward of `x [T, C]`; tells `watch` what a router chose.
    pub(super) fn forward(&self, x: &Tensor, watch: &mut dyn FnMut(&Routing)) -> Result<Tensor, ModelError> {
        match self {
            Self::Dense(network) => network.forward(x),
            Self::Experts(network) => {
                let ExpertNetwork { router, experts, shared } = &**network;
                let routing = router.route(x)?;
                watch(&routing);
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
    fn load(
        weights: &Weights,
        module: &str,
        inner: usize,
        width: usize,
        activation: Activation,
    ) -> Result<Self, ModelError> {
        let named = |name: &str| format!("{module}.{name}.weight");
        let parts = [(named("gate_proj"), inner), (named("up_proj"), inner)];
        let gate_up = weights.matrix(&parts, width)?;
        Ok(Self { gate_up, down: weights.matrix(&[(named("down_proj"), width)], inner)?, activation })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, ModelError> {
        let hidden = kernels::gate(&kernels::linear(x, &self.gate_up, None)?, self.activation)?;
        Ok(kernels::linear(&hidden, &self.down, None)?)
    }
}

impl Router {
    fn load(weights: &Weights, module: &str, layer: &ExpertLayer, width: usize) -> Result<Self, ModelError> {
        let ExpertLayer { count, gating, names, .. } = *layer;
        let router = format!("{module}.{}", names.router);
        let vector = |name: String| weights.vector(&name, &[count]);
        Ok(Self {
            weight: weights.router(&format!("{router}.weight"), count, width)?,
            bias: if names.router_bias { Some(vector(format!("{router}.bias"))?) } else { None },
            choice_bias: match names.choice_bias {
                Some(name) => Some(vector(format!("{module}.{name}"))?),
                None => None,
            },
            gating,
        })
    }

    fn route(&self, x: &Tensor) -> Result<Routing, ModelError> {
        let logits = kernels::linear(x, &self.weight, self.bias.as_ref())?;
        Ok(kernels::route(&logits, self.choice_bias.as_ref(), self.gating)?)
    }
}

impl Shared {
    fn load(
        weights: &Weights,
        module: &str,
        shared: SharedExpert,
        width: usize,
        activation: Activation,
    ) -> Result<Self, ModelError> {
        let gate = match shared.gate {
            Some(name) => Some(weights.router(&format!("{module}.{name}.weight"), 1, width)?),
            None => None,
        };
        let module = format!("{module}.{}", shared.module);
        let network = GatedNetwork::load(weights, &module, shared.inner, width, activation)?;
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

/// Brings a layer's experts into the canonical layout.
fn load_experts(
    weights: &Weights,
    module: &str,
    layer: &ExpertLayer,
    width: usize,
) -> Result<Experts, ModelError> {
    let ExpertLayer { count, inner, names, activation, weighted, .. } = *layer;
    let plain = |gate_up, down, gate_up_rows| Experts {
        gate_up,
        gate_up_rows,
        gate_up_bias: None,
        down,
        down_bias: None,
        activation,
        weighted,
    };
    match names.tensors {
        ExpertTensors::Each { gate, up, down } => {
            let named = |expert: usize, name: &str| format!("{module}.experts.{expert}.{name}.weight");
            let gate_up: Vec<_> = (0..count)
                .flat_map(|expert| [(named(expert, gate), inner), (named(expert, up), inner)])
                .collect();
            let down: Vec<_> = (0..count).map(|expert| (named(expert, down), width)).collect();
            let gate_up = weights.stack(&gate_up, count, width)?;
            Ok(plain(gate_up, weights.stack(&down, count, inner)?, GateUp::Halves))
        }
        ExpertTensors::Fused { gate_up, down, stored, rows, bias } => {
            let named = |name: &str| format!("{module}.{name}");
            let bias_of = |name: &str, len: usize| {
                if !bias {
                    return Ok(None);
                }
                weights.vector(&format!("{module}.{name}_bias"), &[count, len]).map(Some)
            };
            let experts = plain(
                weights.fused(&named(gate_up), [count, 2 * inner, width], stored)?,
                weights.fused(&named(down), [count, width, inner], stored)?,
                rows,
            );
            Ok(Experts {
                gate_up_bias: bias_of(gate_up, 2 * inner)?,
                down_bias: bias_of(down, width)?,
                ..experts
            })
        }
    }
}
