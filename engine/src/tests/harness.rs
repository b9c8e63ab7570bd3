//! Runs a fixture's prompts through scheduler, batch and decoder, without threads, and keeps every logit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::safetensors::load;
use candle_core::{DType, Device};
use kernels::{KvCache, Routing};

use crate::batch::Batch;
use crate::lookup::Lookup;
use crate::model::{Checkpoint, Decoder, KvGroup, ModelError, WeightFormat};
use crate::schedule::block::{BlockManager, PoolSize};
use crate::schedule::queue::{Lane, Priority};
use crate::schedule::sequence::{SeqId, Sequence};
use crate::schedule::{Item, Scheduler, StepLimits};

/// Tokens of each greedy continuation in the fixtures.
pub(super) const NEW_TOKENS: usize = 32;

pub(super) const FIXTURES: &[&str] = &[
    "deepseek_v2",
    "deepseek_v2_lite",
    "deepseek_v3",
    "deepseek_v3_fp8",
    "gemma3",
    "gemma3_text",
    "glm4_moe",
    "gpt_oss",
    "gpt_oss_mxfp4",
    "granite_moe",
    "kimi_k2",
    "llama",
    "llama4",
    "llama4_text",
    "llama_fp8_channel",
    "llama_fp8_tensor",
    "llama_yarn",
    "minimax_m2",
    "mistral",
    "mistral4",
    "mistral_fp8_static",
    "mistral_large3",
    "mistral_large3_native",
    "mistral_small4",
    "mistral_window",
    "mixtral",
    "olmoe",
    "phi_moe",
    "phi_moe_long",
    "qwen2",
    "qwen2_moe",
    "qwen3",
    "qwen3_moe",
    "qwen3_moe_fp8",
    "qwen3_moe_sparse",
];

pub(super) fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A loaded model and the groups of its layers.
pub(super) struct Network {
    pub(super) decoder: Decoder,
    pub(super) groups: Vec<KvGroup>,
}

pub(super) fn network(name: &str) -> Network {
    loaded(&folder(name), WeightFormat::AsStored)
}

pub(super) fn loaded(path: &Path, format: WeightFormat) -> Network {
    let load = || {
        let checkpoint = Checkpoint::open(path)?;
        let groups = checkpoint.description().kv_groups();
        Ok::<_, ModelError>(Network { decoder: checkpoint.load(format, Arc::new(|_, _| {}))?, groups })
    };
    load().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One prompt with what the reference implementation made of it.
pub(super) struct Case {
    pub(super) prompt: Vec<u32>,
    /// `[T, V]` over the prompt.
    pub(super) logits: Vec<Vec<f32>>,
    pub(super) greedy: Vec<u32>,
    /// By layer, the experts of each token of the prompt in ascending order.
    pub(super) experts: BTreeMap<usize, Vec<Vec<u32>>>,
}

pub(super) fn cases(name: &str) -> Vec<Case> {
    let tensors = load(folder(name).join("ref.safetensors"), &Device::Cpu).unwrap();
    let ids = |key: String| {
        let ids =
            tensors[&key].to_dtype(DType::I64).unwrap().flatten_all().unwrap().to_vec1::<i64>().unwrap();
        ids.into_iter().map(|id| id as u32).collect::<Vec<_>>()
    };
    let routers = |i: usize| {
        let of =
            |name: &String| Some(name.strip_prefix("router.")?.strip_suffix(&format!(".{i}"))?.to_owned());
        let layers = tensors.keys().filter_map(of);
        let rows = |layer: &String| {
            let chosen = &tensors[&format!("router.{layer}.{i}")];
            let top_k = chosen.dims()[1];
            ids(format!("router.{layer}.{i}")).chunks(top_k).map(<[u32]>::to_vec).collect::<Vec<_>>()
        };
        layers.map(|layer| (layer.parse().unwrap(), rows(&layer))).collect()
    };
    let case = |i: usize| Case {
        prompt: ids(format!("prompt.{i}")),
        logits: tensors[&format!("logits.{i}")].to_vec2().unwrap(),
        greedy: ids(format!("greedy.{i}")),
        experts: routers(i),
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
    /// The step after which the first sequence is given up by its reader, if it is.
    pub(super) first_leaves_after: Option<usize>,
    /// Whether the prefix cache is for all of them, and not for each alone.
    pub(super) shares: bool,
    /// What is proposed for each decoding sequence in each step.
    pub(super) draft: Draft,
}

/// Where drafts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Draft {
    None,
    Lookup,
    /// What the model most likely does not say.
    Wrong,
}

impl Cut {
    /// One prompt, one step, room for everything.
    pub(super) const WHOLE: Self = Self {
        step_tokens: 4096,
        sequences: 64,
        block_size: 16,
        blocks: 256,
        first_leaves_after: None,
        shares: false,
        draft: Draft::None,
    };
}

/// What one sequence made: its tokens after the prompt and every logit row that was computed, by position.
#[derive(Debug, PartialEq)]
pub(super) struct Made {
    pub(super) tokens: Vec<u32>,
    pub(super) logits: Vec<Vec<f32>>,
    /// By layer with a router, the experts of each token in ascending order, by position.
    pub(super) experts: BTreeMap<usize, Vec<Vec<u32>>>,
}

/// What a run made of each prompt, and how often a sequence was preempted.
pub(super) struct Run {
    pub(super) made: Vec<Made>,
    pub(super) preempted: usize,
    /// Drafted tokens that were right.
    pub(super) right: usize,
}

/// Continues each prompt greedily by [`NEW_TOKENS`]. The pool starts full of NaN.
pub(super) fn run(network: &Network, prompts: &[&[u32]], cut: Cut) -> Run {
    let mut session = Session::new(network, prompts, cut);
    let mut run = Run { made: Vec::new(), preempted: 0, right: 0 };
    for steps in 0.. {
        if cut.first_leaves_after == Some(steps) {
            session.scheduler.finish(SeqId(0), &mut session.blocks);
            session.seen.remove(&SeqId(0));
        }
        if session.scheduler.is_idle() {
            break;
        }
        session.propose(cut.draft);
        session.step(&network.decoder, &mut run);
    }
    run.made = session.seen.into_values().map(Seen::made).collect();
    run
}

/// A run in progress.
struct Session {
    scheduler: Scheduler,
    blocks: BlockManager,
    caches: Vec<KvCache>,
    lookups: BTreeMap<SeqId, Lookup>,
    seen: BTreeMap<SeqId, Seen>,
}

/// What is known of one sequence.
#[derive(Default)]
struct Seen {
    tokens: Vec<u32>,
    logits: BTreeMap<usize, Vec<f32>>,
    experts: BTreeMap<usize, BTreeMap<usize, Vec<u32>>>,
}

impl Seen {
    fn made(self) -> Made {
        let experts = self.experts.into_iter();
        Made {
            tokens: self.tokens,
            logits: self.logits.into_values().collect(),
            experts: experts.map(|(layer, rows)| (layer, rows.into_values().collect())).collect(),
        }
    }
}

impl Session {
    fn new(network: &Network, prompts: &[&[u32]], cut: Cut) -> Self {
        let pool = |group: &KvGroup| PoolSize { reach: group.reach, blocks: cut.blocks };
        let pools: Vec<PoolSize> = network.groups.iter().map(pool).collect();
        let limits = StepLimits { tokens_max: cut.step_tokens, sequences_max: cut.sequences };
        let slots = vec![cut.blocks as usize * cut.block_size; pools.len()];
        let caches = network.decoder.new_caches(&slots).unwrap();
        for cache in &caches {
            cache.fill(f32::NAN).unwrap();
        }
        let mut scheduler = Scheduler::new(limits);
        for (i, prompt) in prompts.iter().enumerate() {
            let tenant = if cut.shares { String::new() } else { i.to_string() }.into();
            let lane = Lane { priority: Priority::Interactive, tenant };
            scheduler.add(Sequence::new(SeqId(i as u64), lane, prompt.to_vec(), NEW_TOKENS));
        }
        let blocks = BlockManager::new(&pools, cut.block_size);
        Self { scheduler, blocks, caches, lookups: BTreeMap::new(), seen: BTreeMap::new() }
    }

    fn propose(&mut self, draft: Draft) {
        for (id, lookup) in &mut self.lookups {
            match draft {
                Draft::None => {}
                Draft::Lookup => self.scheduler.propose(*id, |tokens, max| lookup.draft(tokens, max)),
                Draft::Wrong => self.scheduler.propose(*id, |_, max| vec![0; max.min(5)]),
            }
        }
    }

    fn step(&mut self, decoder: &Decoder, run: &mut Run) {
        let plan = self.scheduler.plan(&mut self.blocks);
        run.preempted += plan.preempted;
        let batch = Batch::new(&plan, &self.scheduler, &self.blocks);
        let places: Vec<(SeqId, usize)> = plan
            .items
            .iter()
            .flat_map(|item| (item.start..item.start + item.len).map(|position| (item.id, position)))
            .collect();
        let mut watch = |layer: usize, routing: &Routing| {
            for ((id, position), chosen) in places.iter().zip(routing.experts.chunks(routing.top_k)) {
                let mut chosen = chosen.to_vec();
                chosen.sort_unstable();
                let layers = &mut self.seen.entry(*id).or_default().experts;
                layers.entry(layer).or_default().insert(*position, chosen);
            }
        };
        let normed = decoder.forward_watched(&batch, &self.caches, &mut watch).unwrap();
        let every_row: Vec<u32> = (0..batch.tokens.len() as u32).collect();
        let made = decoder.logits(&normed, &every_row).unwrap();
        let mut rows = made.to_vec2::<f32>().unwrap().into_iter();
        for &item in &plan.items {
            self.commit(item, rows.by_ref().take(item.len).collect(), run);
        }
    }

    fn commit(&mut self, item: Item, rows: Vec<Vec<f32>>, run: &mut Run) {
        let mut sampled = Vec::new();
        if item.samples {
            let draft = self.scheduler.sequence(item.id).draft();
            for (index, row) in rows[item.len - item.rows..].iter().enumerate() {
                sampled.push(argmax(row));
                if draft.get(index) != sampled.last() {
                    break;
                }
            }
            run.right += sampled.len() - 1;
            self.lookups.entry(item.id).or_default().learn(item.drafted, sampled.len() - 1);
        }
        // Rows behind a token that was wrong belong to nothing.
        let valid = item.len - item.drafted + sampled.len().saturating_sub(1);
        let seen = self.seen.entry(item.id).or_default();
        seen.logits.extend((item.start..).zip(rows).take(valid));
        for rows in seen.experts.values_mut() {
            rows.retain(|position, _| *position < item.start + valid);
        }
        if self.scheduler.commit(item, &sampled, &mut self.blocks) {
            let all = &self.scheduler.sequence(item.id).tokens;
            seen.tokens = all[all.len() - NEW_TOKENS..].to_vec();
            self.scheduler.finish(item.id, &mut self.blocks);
        }
    }
}

fn argmax(row: &[f32]) -> u32 {
    let best = row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1).then(b.0.cmp(&a.0)));
    best.unwrap().0 as u32
}
