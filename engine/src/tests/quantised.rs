//! Weights that are quantised while they are loaded stay near those that are not.
//!
//! The fixtures' rows are too short for blocks of 256, so two checkpoints are drawn here. Nothing else is quantised
//! than weights, so what is measured is what rounding them costs.

use std::path::Path;

use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::harness::{Cut, folder, loaded, run};
use crate::model::WeightFormat;

const WIDTH: usize = 256;
const HEADS: usize = 4;
const KEY_HEADS: usize = 2;
const HEAD_DIM: usize = 64;
const VOCABULARY: usize = 131;
const LAYERS: usize = 2;
const EXPERTS: usize = 4;

/// Numbers with a mean of 0 and about a normal distribution.
struct Draw(u64);

impl Draw {
    fn uniform(&mut self) -> f32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 40) as f32 / (1u32 << 24) as f32 - 0.5
    }

    fn normal(&mut self) -> f32 {
        (0..12).map(|_| self.uniform()).sum()
    }
}

/// Takes the name of a layer's tensor, its shape and the size of its values.
type Add<'a> = dyn FnMut(&str, &[usize], f32) + 'a;

/// A checkpoint with rows of 256; `layer` adds what its layers have besides attention.
fn checkpoint(mut config: Value, layer: fn(&mut Add<'_>)) -> TempDir {
    let fields = json!({
        "hidden_size": WIDTH, "intermediate_size": WIDTH, "num_hidden_layers": LAYERS, "rms_norm_eps": 1e-5,
        "num_attention_heads": HEADS, "num_key_value_heads": KEY_HEADS, "head_dim": HEAD_DIM,
        "vocab_size": VOCABULARY, "max_position_embeddings": 256, "hidden_act": "silu",
    });
    let all = config.as_object_mut().unwrap();
    all.extend(fields.as_object().unwrap().clone());
    let (mut draw, mut tensors) = (Draw(3), Vec::new());
    let mut add = |name: String, shape: &[usize], size: f32| {
        let count = shape.iter().product::<usize>();
        let deviation = size / (*shape.last().unwrap() as f32).sqrt();
        let values = (0..count).map(|_| if shape.len() == 1 { 1.0 } else { deviation * draw.normal() });
        let bytes: Vec<u8> = values.flat_map(f32::to_le_bytes).collect();
        tensors.push((name, shape.to_vec(), bytes));
    };
    // As in trained models, the residual stream outweighs what a layer adds, and attention is not a choice.
    add("model.embed_tokens.weight".to_owned(), &[VOCABULARY, WIDTH], 32.0);
    add("lm_head.weight".to_owned(), &[VOCABULARY, WIDTH], 2.0);
    add("model.norm.weight".to_owned(), &[WIDTH], 1.0);
    for i in 0..LAYERS {
        let mut add = |name: &str, shape: &[usize], size: f32| {
            add(format!("model.layers.{i}.{name}.weight"), shape, size);
        };
        add("input_layernorm", &[WIDTH], 1.0);
        add("post_attention_layernorm", &[WIDTH], 1.0);
        add("self_attn.q_proj", &[HEADS * HEAD_DIM, WIDTH], 1.0);
        add("self_attn.k_proj", &[KEY_HEADS * HEAD_DIM, WIDTH], 1.0);
        add("self_attn.v_proj", &[KEY_HEADS * HEAD_DIM, WIDTH], 1.0);
        add("self_attn.o_proj", &[WIDTH, HEADS * HEAD_DIM], 1.0);
        layer(&mut add);
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F32, shape.clone(), bytes).unwrap()));
    serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
    folder
}

fn dense() -> TempDir {
    checkpoint(json!({ "architectures": ["LlamaForCausalLM"] }), |add| {
        add("mlp.gate_proj", &[WIDTH, WIDTH], 1.0);
        add("mlp.up_proj", &[WIDTH, WIDTH], 1.0);
        add("mlp.down_proj", &[WIDTH, WIDTH], 1.0);
    })
}

fn mixture() -> TempDir {
    let config = json!({
        "architectures": ["Qwen3MoeForCausalLM"], "moe_intermediate_size": WIDTH, "num_experts": EXPERTS,
        "num_experts_per_tok": 2, "norm_topk_prob": true,
    });
    checkpoint(config, |add| {
        add("self_attn.q_norm", &[HEAD_DIM], 1.0);
        add("self_attn.k_norm", &[HEAD_DIM], 1.0);
        add("mlp.gate", &[EXPERTS, WIDTH], 3.0);
        for expert in 0..EXPERTS {
            add(&format!("mlp.experts.{expert}.gate_proj"), &[WIDTH, WIDTH], 1.0);
            add(&format!("mlp.experts.{expert}.up_proj"), &[WIDTH, WIDTH], 1.0);
            add(&format!("mlp.experts.{expert}.down_proj"), &[WIDTH, WIDTH], 1.0);
        }
    })
}

/// Mean and worst difference of a logit of a prompt, between two ways to keep the same weights; logits have a
/// deviation of about 2.
fn difference(path: &Path, format: WeightFormat) -> (f32, f32) {
    let prompt: Vec<u32> = (0..48).map(|i| i * 37 % 131).collect();
    let logits = |format| run(&loaded(path, format), &[&prompt], Cut::WHOLE).made.remove(0).logits;
    let (exact, other) = (logits(WeightFormat::F32), logits(format));
    // What follows the prompt depends on which token won.
    let rows = exact.iter().zip(&other).take(prompt.len());
    let differences: Vec<f32> = rows.flat_map(|(a, b)| a.iter().zip(b)).map(|(a, b)| (a - b).abs()).collect();
    assert!(differences.iter().all(|difference| difference.is_finite()));
    let mean = differences.iter().sum::<f32>() / differences.len() as f32;
    (mean, differences.into_iter().fold(0.0, f32::max))
}

#[test]
fn quantised_loads_stay_within_bounds_of_f32() {
    let (dense, mixture) = (dense(), mixture());
    let olmoe = folder("olmoe");
    let models = [
        ("dense, rows of 256", dense.path(), WeightFormat::Q8_0, (0.02, 0.15)),
        ("dense, rows of 256", dense.path(), WeightFormat::Q4K, (0.2, 1.5)),
        ("mixture, rows of 256", mixture.path(), WeightFormat::Q8_0, (0.02, 0.15)),
        ("mixture, rows of 256", mixture.path(), WeightFormat::Q4K, (0.2, 1.5)),
        // Its routers were made with close choices: at two of 48 tokens another expert wins in the first layer, and
        // what follows them is another text.
        ("olmoe, rows of 64", &olmoe, WeightFormat::Q8_0, (0.15, 1.5)),
    ];
    println!("| model | weights | mean | worst |\n|---|---|---|---|");
    let mut wrong = Vec::new();
    for (name, path, format, (mean_max, worst_max)) in models {
        let (mean, worst) = difference(path, format);
        println!("| {name} | {format} | {mean:.4} | {worst:.3} |");
        if mean > mean_max || worst > worst_max {
            wrong.push(format!("{name} as {format}: mean {mean}, worst {worst}"));
        }
        assert!(mean > 0.0, "{name} as {format} was not quantised");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_stored_is_what_is_kept_unless_somebody_asks() {
    for name in ["llama", "qwen3_moe", "llama_fp8_tensor", "gpt_oss_mxfp4"] {
        let (mean, worst) = difference(&folder(name), WeightFormat::AsStored);
        assert!(worst <= 0.0, "{name}: mean {mean}, worst {worst}");
    }
}
