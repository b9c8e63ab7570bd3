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
    /// Whether query and key heads are RMS-normalised before rope.
    pub(crate) norm: bool,
    /// Whether the query, key and value projections have a bias.
    pub(crate) bias: bool,
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
    Experts { count: usize, inner: usize, gating: Gating, names: ExpertNames },
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
}
