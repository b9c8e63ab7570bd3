//! The numeric operations of the engine: one op, one file.
//!
//! | op | file | what it does |
//! |---|---|---|
//! | [`embed`], [`gather`] | `embedding.rs` | gathers rows of the embedding table, of a batch |
//! | [`rms_norm`], [`add_rms_norm`], [`layer_norm`] | `norm.rs` | normalisation, alone and fused with the residual add |
//! | [`linear`] | `linear.rs` | `y = x Wᵀ + b`, each output independent of the batch around it |
//! | [`head_linear`] | `head_linear.rs` | a product of its own for each head |
//! | [`RopeTable`], [`rope`] | `rope.rs` | rotary position embedding of query and key heads |
//! | [`write_kv`], [`write_latent`] | `kv_cache.rs` | puts this step's keys and values into their pages |
//! | [`attend`], [`Reach`] | `attention.rs`, `reach.rs` | paged attention over a flat batch of prefill and decode tokens |
//! | [`gate`] | `activation.rs` | the gate of a feed-forward: `SwiGLU` and its kin |
//! | [`Weight`], [`WeightBuilder`] | `weight/` | the weights of a product, in the type in which they are kept |
//! | [`route`] | `gating.rs` | which experts each token goes to, and with what weight |
//! | [`experts`] | `experts.rs` | the experts' feed-forwards and their weighted sum in fixed order |
//!
//! Shapes use the same letters everywhere: T tokens in the step, H query heads, K key/value heads, D head
//! dimension, N cache blocks, P tokens per block, V vocabulary, C hidden width, I feed-forward width, E experts.
//!
//! The CPU code here is a product path and the oracle for device code alike, so it is written to be
//! *batch invariant*: the order in which one output's terms are added never depends on the other rows of
//! the batch, on how a prompt was cut into chunks, or on the block size. The same prompt therefore gives
//! the same bits alone and in a crowd.
//!
//! Weights are read in the type in which they are stored; activations are f32.
//!
//! Deliberately absent: models (what to call in which order), scheduling, and any type of activations but f32 on the
//! CPU.

mod activation;
mod attention;
mod embedding;
mod error;
mod experts;
mod gating;
mod head_linear;
mod kv_cache;
mod lanes;
mod linear;
mod norm;
mod reach;
mod rope;
mod view;
mod weight;

pub use activation::{Activation, GateUp, gate};
pub use attention::{Attention, Paging, SeqSpan, attend};
pub use embedding::{embed, gather};
pub use error::KernelError;
pub use experts::{Experts, Weighted, experts};
pub use gating::{Gating, GroupWorth, Groups, Routing, Score, route};
pub use head_linear::head_linear;
pub use kv_cache::{KvCache, PADDING_SLOT, write_kv, write_latent};
pub use linear::linear;
pub use norm::{add_rms_norm, layer_norm, rms_norm};
pub use reach::Reach;
pub use rope::{RopeAngles, RopePairs, RopeTable, rope};
pub use weight::{Format, RowsMut, Weight, WeightBuilder};
