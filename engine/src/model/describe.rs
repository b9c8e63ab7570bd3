//! What a family says about its network, in the decoder's own terms.

use kernels::{Gating, RopeTable};

/// A decoder-only transformer: embedding, layers of attention and feed-forward with residuals, norm, head.
#[derive(Debug)]
pub(crate) struct Description {
    /// V.
    pub(crate) vocabulary: usize,
    /// C, the residual stream's width.
    pub(crate) width: usize,
    /// The longest sequence that the positions were made for, in tokens.
    pub(crate) context: usize,
    /// Added to the mean square in every norm.
    pub(crate) norm_eps: f32,
    /// Whether the output head is the embedding table.
    pub(crate) tied: bool,
    pub(crate) heads: Heads,
    pub(crate) rope: RopeTable,
    pub(crate) layers: Vec<Layer>,
    /// Layers after the last one that predict further tokens; they are not loaded.
    pub(crate) draft_layers: usize,
}

/// The shape of attention, the same in every layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    /// H.
    pub(crate) query: usize,
    /// K.
    pub(crate) key_value: usize,
    /// D.
    pub(crate) dim: usize,
    pub(crate) norm: HeadNorm,
    /// Whether the query, key and value projections have a bias.
    pub(crate) bias: bool,
    /// Queries, keys and values are clamped to plus and minus this, after the norm.
    pub(crate) clamp: Option<f32>,
}

/// What is RMS-normalised of queries and keys before rope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadNorm {
    None,
    /// Each head for itself, with one weight for all of them.
    PerHead,
    /// All heads of a token as one vector.
    AllHeads,
}

/// What differs from layer to layer.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    /// Keys a token sees, itself included; `None` is all.
    pub(crate) window: Option<u32>,
    pub(crate) feed_forward: FeedForward,
}

/// A layer's feed-forward.
#[derive(Clone, Debug)]
pub(crate) enum FeedForward {
    /// One gated network of I = `inner`.
    Dense { inner: usize },
    /// Experts behind a router.
    Experts(ExpertLayer),
}

/// A router, its experts, and what every token passes besides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExpertLayer {
    /// E.
    pub(crate) count: usize,
    /// I of one expert.
    pub(crate) inner: usize,
    pub(crate) gating: Gating,
    pub(crate) names: ExpertNames,
    pub(crate) shared: Option<SharedExpert>,
}

/// A gated network that every token passes, added to its experts' sum.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SharedExpert {
    pub(crate) inner: usize,
    /// Its module, below the router's.
    pub(crate) module: &'static str,
    /// The module of a gate whose sigmoid scales it, if it has one.
    pub(crate) gate: Option<&'static str>,
}

/// How the checkpoint names a layer's router and experts, below `model.layers.N.`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExpertNames {
    /// The module that holds router and experts.
    pub(crate) module: &'static str,
    /// The gate (W1), up (W3) and down (W2) projections.
    pub(crate) gate: &'static str,
    pub(crate) up: &'static str,
    pub(crate) down: &'static str,
    /// The bias on the router's choice, below the module, if there is one.
    pub(crate) choice_bias: Option<&'static str>,
}

impl ExpertNames {
    /// The names of Qwen, `OLMoE` and GLM.
    pub(crate) const MLP: Self =
        Self { module: "mlp", gate: "gate_proj", up: "up_proj", down: "down_proj", choice_bias: None };

    /// The names of Mixtral and `MiniMax`.
    pub(crate) const BLOCK_SPARSE: Self =
        Self { module: "block_sparse_moe", gate: "w1", up: "w3", down: "w2", choice_bias: None };
}
