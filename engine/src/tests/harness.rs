//! Runs a fixture's prompts through scheduler, batch and decoder, without threads, and keeps every logit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::safetensors::load;
use candle_core::{DType, Device};

use crate::batch::Batch;
use crate::model::{Checkpoint, Decoder, WeightFormat};
use crate::schedule::block::BlockManager;
use crate::schedule::sequence::{SeqId, Sequence};
use crate::schedule::{Scheduler, StepLimits};

/// Tokens of each greedy continuation in the fixtures.
pub(super) const NEW_TOKENS: usize = 32;

pub(super) const FIXTURES: &[&str] = &[
    "glm4_moe",
    "llama",
    "minimax_m2",
    "mistral",
    "mistral_window",
    "mixtral",
    "olmoe",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "qwen3_moe_sparse",
];

pub(super) fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

pub(super) fn decoder(name: &str) -> Decoder {
    loaded(name, &folder(name), WeightFormat::AsStored)
}

pub(super) fn loaded(name: &str, path: &Path, format: WeightFormat) -> Decoder {
    let checkpoint = Checkpoint::open(path).unwrap_or_else(|error| panic!("{name}: {error}"));
    checkpoint.load(format, Arc::new(|_, _| {})).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// One prompt with what the reference implementation made of it.
pub(super) struct Case {
    pub(super) prompt: Vec<u32>,
    /// `[T, V]` over the prompt.
    pub(super) logits: Vec<Vec<f32>>,
    pub(super) greedy: Vec<u32>,
}

pub(super) fn cases(name: &str) -> Vec<Case> {
    let tensors = load(folder(name).join("ref.safetensors"), &Device::Cpu).unwrap();
    let ids = |key: String| {
        let ids = tensors[&key].to_dtype(DType::I64).unwrap().to_vec1::<i64>().unwrap();
        ids.into_iter().map(|id| id as u32).collect::<Vec<_>>()
    };
    let case = |i: usize| Case {
        prompt: ids(format!("prompt.{i}")),
        logits: tensors[&format!("logits.{i}")].to_vec2().unwrap(),
        greedy: ids(format!("greedy.{i}")),
    };
    let count = tensors.keys().filter(|name| name.starts_with("prompt.")).count();
    (0..count).map(case).collect()
}

/// How the work is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) step_tokens: usize,
    pub(super) sequences: usize,
    pub(super) block_size: usize,
    /// Blocks in the pool.
    pub(super) blocks: u32,
}

impl Cut {
    /// One prompt, one step, room for everything.
    pub(super) const WHOLE: Self = Self { step_tokens: 4096, sequences: 64, block_size: 16, blocks: 256 };
}

/// What one sequence made: its tokens after the prompt and every logit row, by position.
#[derive(Debug, PartialEq)]
pub(super) struct Made {
    pub(super) tokens: Vec<u32>,
    pub(super) logits: Vec<Vec<f32>>,
}

/// What a run made of each prompt, and how often a sequence was preempted.
pub(super) struct Run {
    pub(super) made: Vec<Made>,
    pub(super) preempted: usize,
}

/// Continues each prompt greedily by [`NEW_TOKENS`]. The pool starts full of NaN.
pub(super) fn run(decoder: &Decoder, prompts: &[&[u32]], cut: Cut) -> Run {
    let mut blocks = BlockManager::new(cut.blocks, cut.block_size);
    let limits = StepLimits { tokens_max: cut.step_tokens, sequences_max: cut.sequences };
    let mut scheduler = Scheduler::new(limits);
    let caches = decoder.new_caches(cut.blocks as usize * cut.block_size).unwrap();
    for cache in &caches {
        cache.fill(f32::NAN).unwrap();
    }
    for (i, prompt) in prompts.iter().enumerate() {
        scheduler.add(Sequence::new(SeqId(i as u64), prompt.to_vec(), NEW_TOKENS));
    }
    let mut logits: BTreeMap<SeqId, BTreeMap<usize, Vec<f32>>> = BTreeMap::new();
    let mut tokens: BTreeMap<SeqId, Vec<u32>> = BTreeMap::new();
    let mut preempted = 0;
    while !scheduler.is_idle() {
        let plan = scheduler.plan(&mut blocks);
        preempted += plan.preempted;
        let mut batch = Batch::new(&plan, &scheduler, &blocks);
        batch.logit_rows = (0..batch.tokens.len() as u32).collect();
        let mut rows = decoder.forward(&batch, &caches).unwrap().to_vec2::<f32>().unwrap().into_iter();
        for &item in &plan.items {
            let seen = logits.entry(item.id).or_default();
            seen.extend((item.start..item.start + item.len).map(|p| (p, rows.next().unwrap())));
            let sampled = item.samples.then(|| argmax(&seen[&(item.start + item.len - 1)]));
            if scheduler.commit(item, sampled) {
                let all = &scheduler.sequence(item.id).tokens;
                tokens.insert(item.id, all[all.len() - NEW_TOKENS..].to_vec());
                scheduler.finish(item.id, &mut blocks);
            }
        }
    }
    let made = tokens.into_values().zip(logits.into_values());
    Run {
        made: made.map(|(tokens, rows)| Made { tokens, logits: rows.into_values().collect() }).collect(),
        preempted,
    }
}

fn argmax(row: &[f32]) -> u32 {
    let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    best.unwrap().0 as u32
}
