//! How large a described network is, counted from its description: no tensor is read.

use super::describe::{
    Attention, Dense, Description, ExpertLayer, ExpertTensors, FeedForward, HeadNorm, Heads, Latent, NormKind,
};

/// Parameters of a network. A weight that serves twice, as a tied head does, counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// All of them.
    pub total: u64,
    /// Those that one token is multiplied with: of experts only the chosen ones, of a table of embeddings that is
    /// no head as well none.
    pub active: u64,
    /// Of the table of embeddings.
    pub embedding: u64,
}

/// Of one module: all, and those that a token is multiplied with.
#[derive(Clone, Copy, Default)]
struct Count {
    total: usize,
    active: usize,
}

impl Count {
    fn all(parameters: usize) -> Self {
        Self { total: parameters, active: parameters }
    }

    fn plus(self, other: Self) -> Self {
        Self { total: self.total + other.total, active: self.active + other.active }
    }
}

impl Description {
    /// Counts the parameters that loading this description reads.
    pub(crate) fn parameters(&self) -> Parameters {
        let norm = if self.norm == NormKind::Layer { 2 * self.width } else { self.width };
        let norms = norm * if self.post_norms { 4 } else { 2 };
        let layer = |layer: &super::describe::Layer| {
            let attention = match layer.attention {
                Attention::Grouped(heads) => grouped(heads, self.width),
                Attention::Latent(latent) => self::latent(latent, self.width),
            };
            feed_forward(layer.feed_forward, self.width).plus(Count::all(attention + norms))
        };
        let layers = self.layers.iter().map(layer).fold(Count::default(), Count::plus);
        let embedding = self.vocabulary * self.width;
        let head = embedding + if self.head_bias { self.vocabulary } else { 0 };
        let table = if self.tied { head } else { embedding + head };
        Parameters {
            total: (layers.total + norm + table) as u64,
            active: (layers.active + norm + head) as u64,
            embedding: embedding as u64,
        }
    }
}

fn grouped(heads: Heads, width: usize) -> usize {
    let Heads { query, key_value, dim, norm, bias, sinks, output_bias, .. } = heads;
    let inputs = (query + 2 * key_value) * dim;
    let norms = match norm {
        HeadNorm::None | HeadNorm::AfterRope => 0,
        HeadNorm::PerHead => 2 * dim,
        HeadNorm::AllHeads => (query + key_value) * dim,
    };
    let biases = if bias { inputs } else { 0 } + if output_bias { width } else { 0 };
    inputs * width + query * dim * width + norms + biases + if sinks { query } else { 0 }
}

fn latent(shape: Latent, width: usize) -> usize {
    let Latent { heads, query_rank, rank, plain_dim, rope_dim, value_dim, bias, .. } = shape;
    let queries = heads * (plain_dim + rope_dim);
    let query = match query_rank {
        None => width * queries,
        Some(rank) => width * rank + rank + rank * queries + if bias { rank } else { 0 },
    };
    let compressed = rank + rope_dim;
    let biases = if bias { compressed + width } else { 0 };
    let expansion = rank * heads * (plain_dim + value_dim);
    query + width * compressed + rank + expansion + heads * value_dim * width + biases
}

fn feed_forward(kind: FeedForward, width: usize) -> Count {
    match kind {
        FeedForward::Dense(Dense { inner, .. }) => Count::all(3 * width * inner),
        FeedForward::Experts(layer) => experts(layer, width),
    }
}

fn experts(layer: ExpertLayer, width: usize) -> Count {
    let ExpertLayer { count, inner, gating, names, shared, .. } = layer;
    let bias = matches!(names.tensors, ExpertTensors::Fused { bias: true, .. });
    let each = 3 * width * inner + if bias { 2 * inner + width } else { 0 };
    let biases = [names.router_bias, names.choice_bias.is_some()];
    let router = count * (width + biases.into_iter().filter(|bias| *bias).count());
    let shared =
        shared.map_or(0, |shared| 3 * width * shared.inner + if shared.gate.is_some() { width } else { 0 });
    Count { total: count * each, active: gating.top_k * each }.plus(Count::all(router + shared))
}
