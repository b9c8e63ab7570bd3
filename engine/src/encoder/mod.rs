//! Encoders: texts in, vectors or labels out.
//!
//! In reading order:
//!
//! | module | holds |
//! |---|---|
//! | `request` | what is asked, what comes back |
//! | `handle` | [`Encoder`], the door: texts become tokens and places in the queue |
//! | `worker` | the thread that owns the model, and its step |
//! | `batch` | which texts go through together. Pure |
//! | `model` | token ids to values: network, pooling, head |
//! | `family` | what each family's config says about its network |
//! | `network`, `checkpoint` | candle-transformers' networks, and its names for tensors |
//! | `sentence`, `pooling`, `classifier` | what becomes of the tokens' vectors |
//!
//! An encoder reads a text once and is done with it: no cache, no sampling, no stream. So it shares the thread's
//! frame, the counters and the loading of weights with the generators, and nothing of their scheduler.
//!
//! Deliberately absent: pairs of texts (rerankers), labels of single tokens, sparse and multi-vector embeddings.

mod batch;
mod checkpoint;
mod classifier;
mod family;
mod handle;
mod model;
mod network;
mod pooling;
mod request;
mod sentence;
mod tokenizer;
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::Semaphore;

use crate::model::{Config, Quantization, WeightFormat, Weights};
use crate::stats::Counters;
use crate::{EngineConfig, LoadError, Need};
use batch::{AttentionMemory, Limits};
use classifier::Labels;
use family::{Description, Purpose};
use handle::{Facts, Gives, Shorter, Widths};
use model::Model;
use sentence::{Recipe, Step};
use tokenizer::Tokenizer;

pub use handle::Encoder;
pub use request::{Classifications, EmbedRequest, Embeddings, EncodeError, Input, Overflow};
pub use sentence::SettingError;

/// The architecture of the checkpoint in `folder` if it is an encoder's, supported or not.
pub(crate) fn architecture(folder: &Path) -> Option<String> {
    // A folder without a readable config is nothing, and the generator's loader says so best.
    let config = Config::open(folder, "config.json").ok()?;
    config.architecture().ok().filter(|name| family::is_encoder(name)).map(str::to_owned)
}

/// What the checkpoint in `folder` takes, from its headers. The layers behind the network are small and left out.
pub(crate) fn need(folder: &Path, engine: &EngineConfig) -> Result<Need, LoadError> {
    let weights = Weights::open(folder, &Quantization::default())?;
    Ok(Need {
        weights_bytes: weights.memory_bytes(WeightFormat::F32),
        kv_cache_bytes: 0,
        activation_bytes: engine.kv_cache_bytes,
    })
}

/// Loads the checkpoint in `folder` and starts the thread that serves it.
pub(crate) fn start(folder: &Path, engine: &EngineConfig) -> Result<Encoder, LoadError> {
    let config = Config::open(folder, "config.json")?;
    let (description, purpose) = family::describe(&config)?;
    let attention = AttentionMemory {
        bytes_max: engine.kv_cache_bytes,
        scores_per_pair: description.attention_heads * description.score_copies,
    };
    let limits = Limits { tokens_max: engine.step_tokens_max, texts_max: engine.sequences_max, attention };
    let (model, facts) = match purpose {
        Purpose::Embed => load_embedding(folder, &config, &description)?,
        Purpose::Classify => load_classifier(folder, &config, &description)?,
    };
    let facts = Facts { capacity_tokens: capacity(&facts, attention, engine.context_max), ..facts };
    let counters = Arc::new(Counters::default());
    counters.requests_max.store(engine.requests_max as u64, Relaxed);
    let mailbox = worker::start(model, limits, &counters)?;
    Ok(Encoder {
        facts: Arc::new(facts),
        mailbox,
        places: Arc::new(Semaphore::new(engine.requests_max)),
        counters,
    })
}

/// The longest text: what the model takes, what the operator allows, and what memory holds.
fn capacity(facts: &Facts, attention: AttentionMemory, context_max: Option<usize>) -> usize {
    let wanted = context_max.map_or(facts.capacity_tokens, |max| max.min(facts.capacity_tokens));
    let held = attention.longest();
    if held < wanted {
        tracing::warn!(
            tokens = held,
            model_tokens = wanted,
            "the memory for a step holds the attention of shorter texts only than the model takes"
        );
    }
    wanted.min(held)
}

fn load_embedding(
    folder: &Path,
    config: &Config,
    description: &Description,
) -> Result<(Model, Facts), LoadError> {
    let shorter = match config.find_sizes("matryoshka_dimensions")? {
        Some(widths) => Shorter::These(widths),
        None => Shorter::None,
    };
    let any = config.flag("is_matryoshka", false)?;
    config.finish()?;
    let recipe = Recipe::read(folder)?;
    let tokenizer = Tokenizer::load(folder, recipe.lower_case)?;
    let whole = width(folder, description, &recipe)?;
    let model = Model::embedding(folder, description, &recipe)?;
    let widths = Widths {
        whole,
        shorter: if any && matches!(shorter, Shorter::None) { Shorter::Any } else { shorter },
        normalised: recipe.normalises(),
    };
    let tokens_max = recipe.tokens_max.or(tokenizer.tokens_max);
    let facts = facts(description, tokenizer, tokens_max, Gives::Vectors(widths));
    Ok((model, Facts { prompt: recipe.prompt, ..facts }))
}

fn load_classifier(
    folder: &Path,
    config: &Config,
    description: &Description,
) -> Result<(Model, Facts), LoadError> {
    let labels = Labels::read(config)?;
    config.finish()?;
    let tokenizer = Tokenizer::load(folder, false)?;
    let model = Model::classifier(folder, description, &labels)?;
    let tokens_max = tokenizer.tokens_max;
    Ok((model, facts(description, tokenizer, tokens_max, Gives::Labels(labels.names))))
}

/// The width of a text's vector at the end of the recipe.
fn width(folder: &Path, description: &Description, recipe: &Recipe) -> Result<usize, SettingError> {
    let mut width = description.hidden_size * recipe.pooling.len();
    for step in &recipe.steps {
        let Step::Dense(dense) = step else { continue };
        if dense.width_in != width {
            let reason = format!("a dense layer takes {} numbers and is given {width}", dense.width_in);
            return Err(SettingError { path: folder.join("modules.json"), reason });
        }
        width = dense.width_out;
    }
    Ok(width)
}

fn facts(description: &Description, tokenizer: Tokenizer, tokens_max: Option<usize>, gives: Gives) -> Facts {
    Facts {
        tokenizer,
        prompt: String::new(),
        capacity_tokens: tokens_max.map_or(description.positions, |max| max.min(description.positions)),
        vocabulary: description.vocabulary,
        gives,
    }
}
