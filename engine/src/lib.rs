//! Tokens in, tokens out: an inference engine with paged KV cache and continuous batching.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | `request` | [`Request`]: a prompt, how to draw, when to end, which form to keep |
//! | `handle` | [`Handle::submit`], the door: a prompt becomes tokens and a place in the queue |
//! | `events` | [`Events`], what comes back: text, tool calls, one end |
//! | `worker` | the thread that owns the device, and its step |
//! | `live` | the outside of a sequence that runs: what is drawn for it and told of it |
//! | `schedule` | which tokens go through the model next; which blocks they use. Pure |
//! | `batch` | a step as the model sees it |
//! | `lookup` | guesses of what a sequence says next |
//! | `pace` | how fast prompts are read, and so how long a new one would wait |
//! | `memory` | what a model needs and what there is |
//! | `canary` | one token by the ordinary path: whether an engine answers |
//! | `poison` | ways to break a running engine, for tests; not in release builds |
//! | `inspect` | what a checkpoint is, without loading it |
//! | `model` | checkpoint to network: config, weights, families, decoder |
//! | `sampler` | logits to a token |
//! | `constrain` | replies held to a form: JSON, schemas, grammars, tool calls |
//! | `text` | templates, tokenizer, incremental decoding, tool calls |
//! | `encoder` | [`Encoder`], the other kind of model: texts in, vectors or labels out |
//!
//! Deliberately absent: HTTP, JSON wire forms, policy, and any thread that shares the device.

mod batch;
#[doc(hidden)]
pub mod bench;
mod canary;
mod codec;
mod constrain;
mod encoder;
mod events;
mod handle;
mod inspect;
mod live;
mod lookup;
mod memory;
mod model;
mod pace;
#[cfg(debug_assertions)]
mod poison;
mod request;
mod sampler;
mod schedule;
mod stats;
mod text;
mod thread;
mod worker;

#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

pub use canary::CanaryError;
pub use constrain::{CallLimit, Constraint, ConstraintError, ToolDemand};
pub use encoder::{
    Classifications, EmbedRequest, Embeddings, EncodeError, Encoder, Input, Overflow, SettingError,
};
pub use events::{Alternative, Event, Events, FinishReason, Token, Usage};
pub use handle::Handle;
pub use inspect::{CacheNeed, Inspection, Kind, inspect};
pub use memory::{Need, Size, Smaller};
pub use model::{GgufError, ModelError, Parameters, Watch, WeightFormat};
#[cfg(debug_assertions)]
pub use poison::Poison;
pub use request::{
    CHOICES_MAX, Claim, Detail, EndTokens, Ending, NewTokens, Prompt, Report, Request, SpecialTokens,
    SubmitError,
};
pub use sampler::{ALTERNATIVES_MAX, Penalties, Sampling, SamplingError};
pub use schedule::queue::Priority;
pub use stats::{Closing, Stats};
pub use text::{Conversation, Message, Opening, Role, TextError, Tool, ToolCall, ToolForm};

/// How an engine is sized. Every bound has a unit.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// P, tokens per KV block.
    pub block_size_tokens: usize,
    /// Memory for the KV cache. The cache is never larger than all places at full context would need. An encoder,
    /// which has none, takes it for the attention of a step.
    pub kv_cache_bytes: u64,
    /// Tokens in one forward pass; bounds the memory of activations.
    pub step_tokens_max: usize,
    /// Sequences in one forward pass.
    pub sequences_max: usize,
    /// Requests in the engine at once, running and waiting; the next one is refused.
    pub requests_max: usize,
    /// The longest sequence in tokens, if shorter than the model's own limit.
    pub context_max: Option<usize>,
    /// How weights are kept in memory.
    pub weights: WeightFormat,
    /// While no more sequences than this run, guesses of what they say next are read along with them; 0 never guesses.
    pub draft_sequences_max: usize,
    /// Memory that the model may take; `None` is what the system has available.
    pub memory_bytes: Option<u64>,
    /// How the model writes tool calls; `None` is what its chat template says.
    pub tool_form: Option<ToolForm>,
}

impl Default for EngineConfig {
    /// A machine with a few GiB to spare.
    fn default() -> Self {
        Self {
            block_size_tokens: 16,
            kv_cache_bytes: 1 << 30,
            step_tokens_max: 512,
            sequences_max: 64,
            requests_max: 1024,
            context_max: None,
            weights: WeightFormat::AsStored,
            draft_sequences_max: 4,
            memory_bytes: None,
            tool_form: None,
        }
    }
}

/// Why an engine could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The network or its weights.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The tokenizer or the chat template.
    #[error(transparent)]
    Text(#[from] TextError),
    /// A setting of an encoder's folder.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The cache has room for less than one block.
    #[error("a KV cache of {given_bytes} bytes holds no block; one takes {needed_bytes} bytes")]
    CacheTooSmall {
        /// As configured.
        given_bytes: u64,
        /// For one block.
        needed_bytes: u64,
    },
    /// The model needs more memory than there is.
    #[error("it needs {need}, and {} are available; {smaller}or give the KV cache less", Size(*available_bytes))]
    DoesNotFit {
        /// What it needs.
        need: Need,
        /// What there is.
        available_bytes: u64,
        /// What it would need with its weights quantised.
        smaller: Smaller,
    },
    /// The operating system refused the engine's thread.
    #[error("cannot start the engine thread: {0}")]
    Thread(std::io::Error),
}

/// A started model, by what it does.
#[derive(Clone, Debug)]
pub enum Engine {
    /// It writes text.
    Generator(Handle),
    /// It turns text into vectors or labels.
    Encoder(Encoder),
}

impl Engine {
    /// A reading of the engine's counters.
    pub fn stats(&self) -> Stats {
        match self {
            Self::Generator(handle) => handle.stats(),
            Self::Encoder(encoder) => encoder.stats(),
        }
    }

    /// The end of the engine's thread.
    pub fn ending(&self) -> Closing {
        match self {
            Self::Generator(handle) => handle.ending(),
            Self::Encoder(encoder) => encoder.ending(),
        }
    }

    /// The longest sequence or text, in tokens.
    pub fn capacity_tokens(&self) -> usize {
        match self {
            Self::Generator(handle) => handle.capacity_tokens(),
            Self::Encoder(encoder) => encoder.capacity_tokens(),
        }
    }
}

/// Starts whatever the checkpoint at `path` is, by the architecture that its `config.json` names. `watch` is told how
/// far the loading is.
///
/// # Errors
/// As [`start`] and [`start_encoder`].
pub fn open(path: &Path, config: EngineConfig, watch: Watch) -> Result<Engine, LoadError> {
    if encoder::architecture(path).is_some() {
        start_encoder(path, config).map(Engine::Encoder)
    } else {
        start_watched(path, config, watch).map(Engine::Generator)
    }
}

/// Loads the encoder in `folder` and starts the thread that serves it. As [`start`] for the rest.
///
/// # Errors
/// Returns [`LoadError`] if the folder's files are missing, damaged or of a kind that is not supported.
pub fn start_encoder(folder: &Path, config: EngineConfig) -> Result<Encoder, LoadError> {
    encoder::start(folder, &config)
}

/// Loads the checkpoint at `path` and starts the thread that serves it: a folder as the hub has it, or a GGUF
/// file, of which the first part is enough if it has several.
///
/// The thread ends when the last [`Handle`] is dropped and the work it had is done. Blocks while it reads the
/// weights: seconds to minutes.
///
/// # Errors
/// Returns [`LoadError`] if files are missing, damaged or of a kind that is not supported.
pub fn start(path: &Path, config: EngineConfig) -> Result<Handle, LoadError> {
    start_watched(path, config, Arc::new(|_, _| {}))
}

/// What the checkpoint at `path` would need, by its headers: nothing of it is loaded.
///
/// # Errors
/// As [`open`].
pub fn need(path: &Path, config: &EngineConfig) -> Result<Need, LoadError> {
    if encoder::architecture(path).is_some() {
        return encoder::need(path, config);
    }
    let checkpoint = model::Checkpoint::open(path)?;
    Ok(need_of(&checkpoint, &size_of(&checkpoint, config)?, config, config.weights))
}

/// As [`start`], with somebody who is told how far the loading is.
fn start_watched(path: &Path, config: EngineConfig, watch: Watch) -> Result<Handle, LoadError> {
    let codec = Arc::new(codec::Codec::load(path, config.tool_form)?);
    let checkpoint = model::Checkpoint::open(path)?;
    let size = size_of(&checkpoint, &config)?;
    fits(&checkpoint, &size, &config)?;
    let decoder = checkpoint.load(config.weights, watch)?;
    worker::start(decoder, codec, config, &size)
}

fn size_of(checkpoint: &model::Checkpoint, config: &EngineConfig) -> Result<worker::Size, LoadError> {
    let description = checkpoint.description();
    worker::Size::of(&description.kv_groups(), description.context, config)
}

fn need_of(
    checkpoint: &model::Checkpoint,
    size: &worker::Size,
    config: &EngineConfig,
    weights: WeightFormat,
) -> Need {
    Need {
        weights_bytes: checkpoint.weights_bytes(weights),
        kv_cache_bytes: size.bytes(&checkpoint.description().kv_groups(), config.block_size_tokens),
        activation_bytes: memory::activation_bytes(checkpoint.description(), config),
    }
}

/// Refuses a model that needs more memory than there is.
fn fits(checkpoint: &model::Checkpoint, size: &worker::Size, config: &EngineConfig) -> Result<(), LoadError> {
    let Some(available_bytes) = config.memory_bytes.or_else(memory::available_bytes) else {
        tracing::warn!("the system does not say how much memory there is, so the model may not fit");
        return Ok(());
    };
    let need = |weights| need_of(checkpoint, size, config, weights);
    let wanted = need(config.weights);
    tracing::info!(need = %wanted, available = %Size(available_bytes), "memory");
    if wanted.total_bytes() <= available_bytes {
        return Ok(());
    }
    let smaller = [WeightFormat::Q8_0, WeightFormat::Q4K].into_iter().map(|weights| (weights, need(weights)));
    let smaller = smaller.filter(|(_, need)| need.total_bytes() < wanted.total_bytes()).collect();
    Err(LoadError::DoesNotFit { need: wanted, available_bytes, smaller: Smaller(smaller) })
}
