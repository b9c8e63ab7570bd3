//! What a family says about its network, in the decoder's own terms.

use kernels::{Activation, GateUp, Gating, Reach, RopePairs, RopeTable, Weighted};

use super::weights::Stored;

/// A decoder-only transformer: embedding, layers of attention and feed-forward with residuals, norm, head.
#[derive(Debug)]
pub(crate) struct Description {
    /// V.
    pub(crate) vocabulary: usize,
    /// C, the residual stream's width.
    pub(crate) width: usize,
    /// The longest sequence that the positions were made for, in tokens.
    pub(crate) context: usize,
    pub(crate) norm: NormKind,
    /// Added to the mean square in every norm of the residual stream and of heads.
    pub(crate) norm_eps: f32,
    /// Whether what attention and feed-forward return is normalised before it is added (Gemma 3).
    pub(crate) post_norms: bool,
    /// Whether the output head is the embedding table.
    pub(crate) tied: bool,
    pub(crate) head_bias: bool,
    pub(crate) scales: Scales,
    pub(crate) ropes: Vec<RopeTable>,
    pub(crate) layers: Vec<Layer>,
    /// Layers after the last one that predict further tokens; they are not loaded.
    pub(crate) draft_layers: usize,
    /// Modules of the checkpoint that are no part of the text model; they are not loaded.
    pub(crate) left_out: &'static [&'static str],
    /// Parameters of those modules, estimated.
    pub(crate) left_out_parameters: u64,
}

/// Factors that some families put at the ends of the network; 1 elsewhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scales {
    /// On the embedding.
    pub(crate) embedding: f32,
    /// On what a layer's halves add to the residual stream.
    pub(crate) residual: f32,
    /// On the logits.
    pub(crate) logits: f32,
    /// Logits become `cap * tanh(logit / cap)`.
    pub(crate) logits_cap: Option<f32>,
}

impl Scales {
    pub(crate) const NONE: Self = Self { embedding: 1.0, residual: 1.0, logits: 1.0, logits_cap: None };
}

/// How rows of the residual stream are normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NormKind {
    /// By root mean square, times the weight.
    Rms,
    /// By root mean square, times one more than the weight (Gemma).
    RmsPlusOne,
    /// By mean and variance, with a bias.
    Layer,
}

/// What differs from layer to layer.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) attention: Attention,
    /// Keys a token sees. Layers of one reach share their blocks.
    pub(crate) reach: Reach,
    /// Which of the description's tables turns queries and keys; `None` leaves them (`NoPE`).
    pub(crate) rope: Option<usize>,
    /// Grows queries with their position.
    pub(crate) query_growth: Option<QueryGrowth>,
    pub(crate) feed_forward: FeedForward,
}

/// The factor `1 + factor * ln(1 + floor((position + offset) / step))` on queries, against attention that thins
/// out over long contexts (arXiv:2501.19399).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct QueryGrowth {
    pub(crate) factor: f32,
    /// Positions.
    pub(crate) step: f32,
    /// Positions.
    pub(crate) offset: f32,
}

impl QueryGrowth {
    pub(crate) fn at(self, position: u32) -> f32 {
        1.0 + self.factor * ((position as f32 + self.offset) / self.step).floor().ln_1p()
    }
}

/// The shape of a layer's attention.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attention {
    /// Heads of keys and values, each shared by a group of query heads.
    Grouped(Heads),
    /// One compressed row that all heads share (MLA).
    Latent(Latent),
}

/// Grouped-query attention.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Heads {
    /// H.
    pub(crate) query: usize,
    /// K.
    pub(crate) key_value: usize,
    /// D.
    pub(crate) dim: usize,
    /// Factor on the scores.
    pub(crate) scale: f32,
    pub(crate) norm: HeadNorm,
    pub(crate) pairs: RopePairs,
    /// Whether the query, key and value projections have a bias.
    pub(crate) bias: bool,
    /// Whether the output projection has one.
    pub(crate) output_bias: bool,
    /// Whether the checkpoint has a sink per query head.
    pub(crate) sinks: bool,
    /// Scores become `cap * tanh(score / cap)`.
    pub(crate) soft_cap: Option<f32>,
    /// Queries, keys and values are clamped to plus and minus this, after the norm.
    pub(crate) clamp: Option<f32>,
}

/// Multi-head latent attention (arXiv:2405.04434), always absorbed: the cache holds the compressed row, and queries
/// are brought into its space.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latent {
    /// H.
    pub(crate) heads: usize,
    /// Width of the compressed query; `None` projects queries at once.
    pub(crate) query_rank: Option<usize>,
    /// Width of the compressed keys and values.
    pub(crate) rank: usize,
    /// The part of a head's query and key that is not rotated.
    pub(crate) plain_dim: usize,
    /// The part that is; keys share it.
    pub(crate) rope_dim: usize,
    pub(crate) value_dim: usize,
    /// Factor on the scores.
    pub(crate) scale: f32,
    pub(crate) pairs: RopePairs,
    /// Whether the projections from the residual stream and back have a bias.
    pub(crate) bias: bool,
}

/// What is RMS-normalised of queries and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadNorm {
    None,
    /// Each head for itself before rope, with one weight for all of them.
    PerHead,
    /// All heads of a token as one vector, before rope.
    AllHeads,
    /// Each head for itself after rope, without a weight.
    AfterRope,
}

/// What one layer keeps of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheRow {
    /// K keys and values of D each.
    Pairs { heads: usize, dim: usize },
    /// One row whose first part is the value.
    Latent { width: usize, value_dim: usize },
}

impl CacheRow {
    /// Elements per token.
    pub(crate) fn len(self) -> usize {
        match self {
            Self::Pairs { heads, dim } => 2 * heads * dim,
            Self::Latent { width, .. } => width,
        }
    }
}

impl Attention {
    pub(crate) fn cache_row(&self) -> CacheRow {
        match *self {
            Self::Grouped(Heads { key_value, dim, .. }) => CacheRow::Pairs { heads: key_value, dim },
            Self::Latent(Latent { rank, rope_dim, .. }) => {
                CacheRow::Latent { width: rank + rope_dim, value_dim: rank }
            }
        }
    }
}

/// A layer's feed-forward.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FeedForward {
    /// One gated network.
    Dense(Dense),
    /// Experts behind a router.
    Experts(ExpertLayer),
}

/// `down(act(gate(x), up(x)))`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Dense {
    /// I.
    pub(crate) inner: usize,
    pub(crate) activation: Activation,
    /// Its module, below the layer's.
    pub(crate) module: &'static str,
}

/// A router, its experts, and what every token passes besides.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExpertLayer {
    /// E.
    pub(crate) count: usize,
    /// I of one expert.
    pub(crate) inner: usize,
    pub(crate) gating: Gating,
    pub(crate) activation: Activation,
    pub(crate) weighted: Weighted,
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

/// How the checkpoint names a layer's router and experts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ExpertNames {
    /// The module that holds router and experts, below the layer's.
    pub(crate) module: &'static str,
    /// The router's module, below that.
    pub(crate) router: &'static str,
    /// Whether the router's logits have a bias.
    pub(crate) router_bias: bool,
    /// The bias on the router's choice, below the module, if there is one.
    pub(crate) choice_bias: Option<&'static str>,
    pub(crate) tensors: ExpertTensors,
}

/// How the checkpoint stores its experts, below their module.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ExpertTensors {
    /// Three matrices for each, below `experts.N.`: gate (W1), up (W3) and down (W2).
    Each { gate: &'static str, up: &'static str, down: &'static str },
    /// Two tensors for all of them; with `bias` each has another of its name and `_bias`.
    Fused { gate_up: &'static str, down: &'static str, stored: Stored, rows: GateUp, bias: bool },
}

impl ExpertNames {
    /// The names of Qwen, `OLMoE`, `DeepSeek` and GLM.
    pub(crate) const MLP: Self = Self {
        module: "mlp",
        router: "gate",
        router_bias: false,
        choice_bias: None,
        tensors: ExpertTensors::Each { gate: "gate_proj", up: "up_proj", down: "down_proj" },
    };

    /// The names of Mixtral and `MiniMax`.
    pub(crate) const BLOCK_SPARSE: Self = Self {
        module: "block_sparse_moe",
        tensors: ExpertTensors::Each { gate: "w1", up: "w3", down: "w2" },
        ..Self::MLP
    };
}
