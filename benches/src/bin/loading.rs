//! `loading`: how fast a checkpoint is loaded, and how much memory that takes.
//!
//! Writes a random checkpoint of several shards, then loads it in a process of its own and reads the same files in
//! another one, in turns, with the files in the page cache or dropped from it before each turn. The process that
//! loads says what it holds afterwards and the most that it ever held.

use std::fs::{self, File};
use std::io::{Read, Write, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use benches::kept::Kept;
use clap::{Parser, ValueEnum};
use engine::{EngineConfig, WeightFormat};
use serde_json::{Map, Value, json};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

// A Qwen3-MoE of about 1.4 GB in bf16 at the default number of layers.
const WIDTH: usize = 1024;
const HEADS: usize = 16;
const KEY_HEADS: usize = 4;
const HEAD_DIM: usize = 64;
const EXPERTS: usize = 32;
const EXPERTS_USED: usize = 4;
const INNER: usize = 768;
const VOCABULARY: usize = 32_000;
const LAYERS_PER_SHARD: usize = 2;
/// Bytes read at a time where a file is only read.
const READ_BYTES: usize = 8 << 20;

/// Measures loading beside plain reading.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Settings {
    /// Layers of the checkpoint; each takes 160 MB, embedding and head 131 MB
    #[arg(long, default_value_t = 8)]
    layers: usize,
    /// How weights are kept
    #[arg(long, value_enum, default_value_t = Kept::AsStored)]
    weights: Kept,
    /// Turns of reading and loading
    #[arg(long, default_value_t = 5)]
    turns: usize,
    /// Drop the files from the page cache before each turn
    #[arg(long)]
    cold: bool,
    /// Where the checkpoint is written; removed afterwards
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Only load this folder and print what that took
    #[arg(long, hide = true, value_name = "FOLDER")]
    load: Option<PathBuf>,
    /// Only read the files of this folder and print what that took
    #[arg(long, hide = true, value_name = "FOLDER")]
    read: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Settings::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(settings: &Settings) -> Outcome<()> {
    if let Some(folder) = &settings.load {
        return load(folder, settings.weights.format());
    }
    if let Some(folder) = &settings.read {
        return read(folder);
    }
    let folder = settings.folder.clone().unwrap_or_else(std::env::temp_dir);
    let folder = folder.join(format!("loading-{}", std::process::id()));
    fs::create_dir_all(&folder)?;
    let outcome = measure(settings, &folder);
    fs::remove_dir_all(&folder)?;
    outcome
}

fn measure(settings: &Settings, folder: &Path) -> Outcome<()> {
    let bytes = write_checkpoint(folder, settings.layers)?;
    writeln!(
        stdout(),
        "{:.3} GB in {} shards",
        bytes as f64 / 1e9,
        settings.layers.div_ceil(LAYERS_PER_SHARD) + 1
    )?;
    let kept = settings.weights.to_possible_value().ok_or("every format has a name")?;
    let mut ratios = Vec::new();
    for turn in 0..settings.turns {
        let read = child(settings, folder, &["--read"])?;
        let load = child(settings, folder, &["--weights", kept.get_name(), "--load"])?;
        let [read_seconds, ..] = read[..] else { return Err("the reader said nothing".into()) };
        let [seconds, peak, held] = load[..] else { return Err("the loader said too little".into()) };
        let (speed, memory) = (read_seconds / seconds, peak / held);
        writeln!(
            stdout(),
            "turn {turn}: read {read_seconds:.3} s, load {seconds:.3} s, {speed:.2} of its speed; \
             peak {:.0} MB, held {:.0} MB, ratio {memory:.3}",
            peak / 1e3,
            held / 1e3,
        )?;
        ratios.push((speed, memory));
    }
    ratios.sort_by(|a, b| a.0.total_cmp(&b.0));
    let worst = ratios.iter().fold(0f64, |worst, (_, memory)| worst.max(*memory));
    writeln!(
        stdout(),
        "median speed {:.2} of reading, worst peak {worst:.3} of what is held",
        ratios[ratios.len() / 2].0
    )?;
    Ok(())
}

/// Runs this program on `folder` and returns the numbers that it prints.
fn child(settings: &Settings, folder: &Path, arguments: &[&str]) -> Outcome<Vec<f64>> {
    if settings.cold {
        for file in files(folder)? {
            // GNU dd's way to say that a file's cached pages are not needed.
            let file = format!("if={}", file.display());
            Command::new("dd").args([&file, "iflag=nocache", "count=0"]).stderr(Stdio::null()).status()?;
        }
    }
    let output = Command::new(std::env::current_exe()?).args(arguments).arg(folder).output()?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

fn load(folder: &Path, weights: WeightFormat) -> Outcome<()> {
    let config = EngineConfig { kv_cache_bytes: 4 << 20, weights, ..EngineConfig::default() };
    let start = Instant::now();
    let engine = engine::start(folder, config)?;
    let seconds = start.elapsed().as_secs_f64();
    let status = fs::read_to_string("/proc/self/status")?;
    let kilobytes = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    let (peak, held) = (kilobytes("VmHWM:").ok_or("no VmHWM")?, kilobytes("VmRSS:").ok_or("no VmRSS")?);
    drop(engine);
    writeln!(stdout(), "{seconds} {peak} {held}")?;
    Ok(())
}

fn read(folder: &Path) -> Outcome<()> {
    let mut buffer = vec![0u8; READ_BYTES];
    let start = Instant::now();
    for path in files(folder)? {
        let mut file = File::open(path)?;
        while file.read(&mut buffer)? > 0 {}
    }
    writeln!(stdout(), "{}", start.elapsed().as_secs_f64())?;
    Ok(())
}

fn files(folder: &Path) -> Outcome<Vec<PathBuf>> {
    let entries = fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path()));
    let mut files = entries.collect::<Result<Vec<_>, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "safetensors"));
    files.sort();
    Ok(files)
}

/// Writes config, tokenizer and shards; returns the bytes of the shards.
fn write_checkpoint(folder: &Path, layers: usize) -> Outcome<u64> {
    let config = json!({
        "architectures": ["Qwen3MoeForCausalLM"], "vocab_size": VOCABULARY, "hidden_size": WIDTH,
        "intermediate_size": INNER, "moe_intermediate_size": INNER, "num_hidden_layers": layers,
        "num_attention_heads": HEADS, "num_key_value_heads": KEY_HEADS, "head_dim": HEAD_DIM,
        "num_experts": EXPERTS, "num_experts_per_tok": EXPERTS_USED, "norm_topk_prob": true,
        "rms_norm_eps": 1e-6, "max_position_embeddings": 4096, "hidden_act": "silu", "eos_token_id": 1,
    });
    fs::write(folder.join("config.json"), config.to_string())?;
    let tokenizer =
        json!({ "model": { "type": "WordLevel", "vocab": { "a": 0, "b": 1 }, "unk_token": "a" } });
    fs::write(folder.join("tokenizer.json"), tokenizer.to_string())?;
    fs::write(folder.join("tokenizer_config.json"), json!({ "chat_template": "a" }).to_string())?;
    let mut places = Map::new();
    let mut bytes = 0;
    let mut shard = |name: &str, tensors: &[(String, Vec<usize>)]| -> Outcome<()> {
        bytes += write_shard(&folder.join(name), tensors)?;
        places.extend(tensors.iter().map(|(tensor, _)| (tensor.clone(), json!(name))));
        Ok(())
    };
    let named = |name: &str, shape: &[usize]| (name.to_owned(), shape.to_vec());
    let ends = [
        named("model.embed_tokens.weight", &[VOCABULARY, WIDTH]),
        named("model.norm.weight", &[WIDTH]),
        named("lm_head.weight", &[VOCABULARY, WIDTH]),
    ];
    shard("model-ends.safetensors", &ends)?;
    for first in (0..layers).step_by(LAYERS_PER_SHARD) {
        let last = layers.min(first + LAYERS_PER_SHARD);
        let tensors: Vec<_> = (first..last).flat_map(layer_tensors).collect();
        shard(&format!("model-{first:03}.safetensors"), &tensors)?;
    }
    let index = json!({ "weight_map": places });
    fs::write(folder.join("model.safetensors.index.json"), index.to_string())?;
    Ok(bytes)
}

fn layer_tensors(layer: usize) -> Vec<(String, Vec<usize>)> {
    let prefix = format!("model.layers.{layer}");
    let mut tensors = Vec::new();
    let mut add =
        |name: &str, shape: &[usize]| tensors.push((format!("{prefix}.{name}.weight"), shape.to_vec()));
    add("input_layernorm", &[WIDTH]);
    add("post_attention_layernorm", &[WIDTH]);
    add("self_attn.q_proj", &[HEADS * HEAD_DIM, WIDTH]);
    add("self_attn.k_proj", &[KEY_HEADS * HEAD_DIM, WIDTH]);
    add("self_attn.v_proj", &[KEY_HEADS * HEAD_DIM, WIDTH]);
    add("self_attn.o_proj", &[WIDTH, HEADS * HEAD_DIM]);
    add("self_attn.q_norm", &[HEAD_DIM]);
    add("self_attn.k_norm", &[HEAD_DIM]);
    add("mlp.gate", &[EXPERTS, WIDTH]);
    for expert in 0..EXPERTS {
        add(&format!("mlp.experts.{expert}.gate_proj"), &[INNER, WIDTH]);
        add(&format!("mlp.experts.{expert}.up_proj"), &[INNER, WIDTH]);
        add(&format!("mlp.experts.{expert}.down_proj"), &[WIDTH, INNER]);
    }
    tensors
}

/// bf16 numbers between plus and minus 1/16, without a pattern that a disk or a file system could compress.
fn write_shard(path: &Path, tensors: &[(String, Vec<usize>)]) -> Outcome<u64> {
    let mut header = Map::new();
    let mut end = 0;
    for (name, shape) in tensors {
        let start = end;
        end += shape.iter().product::<usize>() * 2;
        let info: Value = json!({ "dtype": "BF16", "shape": shape, "data_offsets": [start, end] });
        header.insert(name.clone(), info);
    }
    let header = Value::Object(header).to_string();
    let padding = " ".repeat(header.len().next_multiple_of(8) - header.len());
    let mut file = File::create(path)?;
    file.write_all(&((header.len() + padding.len()) as u64).to_le_bytes())?;
    file.write_all(header.as_bytes())?;
    file.write_all(padding.as_bytes())?;
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut left = end;
    while left > 0 {
        let mut chunk = Vec::with_capacity(READ_BYTES);
        while chunk.len() < READ_BYTES.min(left) {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            // Sign and fraction are random, the exponent is one of eight below 2^-4.
            let random = (state >> 32) as u32;
            let number = (random & 0x807f) | (115 + (random >> 8 & 7)) << 7;
            chunk.extend((number as u16).to_le_bytes());
        }
        file.write_all(&chunk)?;
        left -= chunk.len();
    }
    file.sync_all()?;
    Ok(fs::metadata(path)?.len())
}
