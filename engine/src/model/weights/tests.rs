//! Small checkpoints written by hand: what is stored is what is read, whatever the format.

use std::sync::Arc;

use safetensors::tensor::{Dtype, TensorView, serialize_to_file};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;
use crate::model::config::Config;

/// A tensor for a file: name, type, shape, bytes.
type Written = (&'static str, Dtype, Vec<usize>, Vec<u8>);

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn bf16s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| half::bf16::from_f32(*value).to_le_bytes()).collect()
}

fn folder(tensors: &[Written]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let views = tensors
        .iter()
        .map(|(name, dtype, shape, bytes)| (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()));
    serialize_to_file(views, None, &folder.path().join("model.safetensors")).unwrap();
    folder
}

fn open(tensors: &[Written], fp8_block: Option<[usize; 2]>) -> Result<Weights, String> {
    let folder = folder(tensors);
    Weights::open(folder.path(), &Quantization { fp8_block }).map_err(|error| error.to_string())
}

fn numbers(weight: &Weight) -> Vec<f32> {
    let dims = weight.dims();
    weight.to_f32(0..dims[..dims.len() - 1].iter().product()).unwrap()
}

fn row(name: &str, rows: usize) -> [(String, usize); 1] {
    [(name.to_owned(), rows)]
}

#[test]
fn a_matrix_keeps_the_format_it_is_stored_in() {
    let values: Vec<f32> = (0..12).map(|i| i as f32 / 4.0).collect();
    let weights = open(
        &[("a", Dtype::BF16, vec![3, 4], bf16s(&values)), ("b", Dtype::F32, vec![3, 4], f32s(&values))],
        None,
    )
    .unwrap();
    let a = weights.matrix(&row("a", 3), 4).unwrap();
    assert_eq!((a.format(), a.bytes(), numbers(&a)), (Format::Bf16, 24, values.clone()));
    // Rows of two formats in one weight: the one that holds both.
    let both = weights.matrix(&[("a".to_owned(), 3), ("b".to_owned(), 3)], 4).unwrap();
    assert_eq!((both.format(), numbers(&both)), (Format::F32, [values.clone(), values].concat()));
    weights.finish().unwrap();
}

#[test]
fn experts_in_one_tensor_are_turned() {
    let value = |e: usize, r: usize, c: usize| ((100 * e + 10 * r + c) % 128) as f32;
    let (count, rows, width) = (2, 70, 3);
    let rows_of = |e: usize| (0..rows).flat_map(move |r| (0..width).map(move |c| value(e, r, c)));
    let columns_of = |e: usize| (0..width).flat_map(move |c| (0..rows).map(move |r| value(e, r, c)));
    let columns: Vec<f32> = (0..count).flat_map(columns_of).collect();
    let weights = open(&[("x", Dtype::BF16, vec![count, width, rows], bf16s(&columns))], None).unwrap();
    let turned = weights.fused("x", [count, rows, width], Stored::Columns).unwrap();
    assert_eq!((turned.format(), numbers(&turned)), (Format::Bf16, (0..count).flat_map(rows_of).collect()));
}

#[test]
fn fp8_is_multiplied_by_one_scale_by_a_row_s_or_by_a_block_s() {
    // 1, 1.5, -2 and 448, the largest.
    let codes = [0x38, 0x3c, 0xc0, 0x7e];
    let plain = [1.0, 1.5, -2.0, 448.0];
    let tensors = |scale_name: &'static str, shape: Vec<usize>, scales: Vec<u8>, dtype: Dtype| {
        [
            ("a.weight", Dtype::F8_E4M3, vec![3, 4], [codes, codes, codes].concat()),
            (scale_name, dtype, shape, scales),
            ("a.input_scale", Dtype::F32, vec![1], f32s(&[7.0])),
        ]
    };
    let check = |tensors: &[Written], block: Option<[usize; 2]>, scale: &dyn Fn(usize, usize) -> f32| {
        let weights = open(tensors, block).unwrap();
        let weight = weights.matrix(&row("a.weight", 3), 4).unwrap();
        let want: Vec<f32> =
            (0..3).flat_map(|r| (0..4).map(move |c| (r, c))).map(|(r, c)| plain[c] * scale(r, c)).collect();
        assert!(matches!(weight.format(), Format::Fp8 { .. }));
        assert_eq!(numbers(&weight), want);
        weights.finish().unwrap();
    };
    check(&tensors("a.weight_scale", vec![], f32s(&[0.5]), Dtype::F32), None, &|_, _| 0.5);
    check(&tensors("a.weight_scale", vec![3, 1], bf16s(&[0.5, 1.0, 2.0]), Dtype::BF16), None, &|r, _| {
        [0.5, 1.0, 2.0][r]
    });
    let blocks = tensors("a.weight_scale_inv", vec![2, 2], f32s(&[0.5, 1.0, 2.0, 4.0]), Dtype::F32);
    check(&blocks, Some([2, 3]), &|r, c| [[0.5, 1.0], [2.0, 4.0]][r / 2][c / 3]);
    let error = open(&blocks, None).unwrap_err();
    assert!(error.contains("a.weight has shape [3, 4] and scales [2, 2]"), "{error}");
}

#[test]
fn a_norm_and_a_part_of_a_matrix_in_fp8_agree_with_the_whole() {
    let codes: Vec<u8> = (0..24u8).map(|i| 0x30 + i % 16).collect();
    let scales = f32s(&[1.0, 2.0, 3.0]);
    let tensors = [
        ("a.weight", Dtype::F8_E4M3, vec![6, 4], codes),
        ("a.weight_scale_inv", Dtype::F32, vec![3, 1], scales),
        ("norm", Dtype::F16, vec![2], [0x3c00u16, 0xc000].iter().flat_map(|h| h.to_le_bytes()).collect()),
    ];
    let weights = open(&tensors, Some([2, 4])).unwrap();
    let whole = numbers(&weights.matrix(&row("a.weight", 6), 4).unwrap());
    assert_eq!(
        weights.vector("a.weight", &[6, 4]).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap(),
        whole
    );
    assert_eq!(weights.vector("norm", &[2]).unwrap().to_vec1::<f32>().unwrap(), [1.0, -2.0]);
}

#[test]
fn the_blocks_of_gpt_oss_are_found_under_the_weights_own_name() {
    let (count, rows, width) = (2, 4, 64);
    let blocks: Vec<u8> = (0..count * rows * width / 2).map(|i| (i * 37 % 256) as u8).collect();
    let scales: Vec<u8> = (0..count * rows * width / 32).map(|i| 120 + i as u8).collect();
    let tensors = [
        ("m.gate_up_proj_blocks", Dtype::U8, vec![count, rows, width / 32, 16], blocks.clone()),
        ("m.gate_up_proj_scales", Dtype::U8, vec![count, rows, width / 32], scales.clone()),
    ];
    let weights = open(&tensors, None).unwrap();
    assert!(weights.contains("m.gate_up_proj") && !weights.contains("m.gate_up_proj_blocks"));
    let weight = weights.fused("m.gate_up_proj", [count, rows, width], Stored::Columns).unwrap();
    assert_eq!(weight.format(), Format::Mxfp4);
    let number = |i: usize| {
        let byte = blocks[i / 2];
        let code = if i.is_multiple_of(2) { byte & 15 } else { byte >> 4 };
        let size = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0][usize::from(code & 7)]
            * 2f32.powi(i32::from(scales[i / 32]) - 127);
        if code < 8 { size } else { -size }
    };
    let want: Vec<f32> = (0..count * rows * width).map(number).collect();
    assert_eq!(numbers(&weight), want);
    weights.finish().unwrap();
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    let error = open(&[("a", Dtype::I32, vec![1], vec![0; 4])], None).unwrap_err();
    assert!(error.contains("tensor a is stored as I32"), "{error}");
    let error = open(&[("a", Dtype::F8_E4M3, vec![1, 1], vec![0])], None).unwrap_err();
    assert!(error.contains("a is FP8 and has no scale"), "{error}");
    let error = open(&[("a_blocks", Dtype::U8, vec![1, 1, 1, 16], vec![0; 16])], None).unwrap_err();
    assert!(error.contains("has no a_scales beside it"), "{error}");
    let weights =
        open(&[("a", Dtype::F32, vec![2, 2], vec![0; 16]), ("b", Dtype::F32, vec![1], vec![0; 4])], None)
            .unwrap();
    let error = weights.matrix(&row("a", 4), 1).unwrap_err().to_string();
    assert_eq!(error, "tensor a has shape [2, 2], the config says [4, 1]");
    assert!(weights.vector("c", &[1]).unwrap_err().to_string().contains("tensor c is missing"));
    assert!(weights.finish().unwrap_err().to_string().contains("tensor b and 0 others are not part"));
}

#[test]
fn the_watcher_hears_of_every_byte_and_the_end() {
    use std::sync::Mutex;
    let mut weights = open(&[("a", Dtype::F32, vec![8, 4], vec![0; 128])], None).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    weights
        .keep(WeightFormat::AsStored, Arc::new(move |done, total| hears.lock().unwrap().push((done, total))));
    weights.matrix(&row("a", 8), 4).unwrap();
    weights.finish().unwrap();
    let heard = heard.lock().unwrap();
    let total = heard[0].1;
    assert_eq!(*heard, [(128, total), (total, total)]);
}

fn read(settings: Value) -> Result<Quantization, String> {
    let fields = [("quantization_config".to_owned(), settings)].into_iter().collect();
    Quantization::read(&Config::of(fields)).map_err(|error| error.to_string())
}

#[test]
fn the_methods_that_are_read_are_accepted_with_their_blocks() {
    let deepseek = json!({ "activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8", "weight_block_size": [128, 128] });
    assert_eq!(read(deepseek).unwrap().fp8_block, Some([128, 128]));
    let gpt_oss = json!({ "modules_to_not_convert": ["lm_head"], "quant_method": "mxfp4" });
    assert_eq!(read(gpt_oss).unwrap().fp8_block, None);
    let compressed = json!({
        "config_groups": { "group_0": {
            "input_activations": { "dynamic": true },
            "targets": ["Linear"],
            "weights": { "num_bits": 8, "type": "float", "strategy": "channel", "symmetric": true, "dynamic": false,
                "group_size": null, "block_structure": null },
        } },
        "format": "float-quantized", "ignore": ["lm_head"], "quant_method": "compressed-tensors",
        "quantization_status": "compressed", "kv_cache_scheme": null, "global_compression_ratio": 1.5,
    });
    assert_eq!(read(compressed).unwrap().fp8_block, None);
}

#[test]
fn other_methods_are_refused_with_what_would_work() {
    for method in ["awq", "gptq", "bitsandbytes", "hqq"] {
        let error = read(json!({ "quant_method": method, "bits": 4 })).unwrap_err();
        assert!(error.contains(method) && error.contains("q8_0") && error.contains("GGUF"), "{error}");
    }
    let error = read(json!({ "quant_method": "fp8", "fmt": "e5m2" })).unwrap_err();
    assert!(error.contains("e5m2"), "{error}");
    let error = read(json!({ "quant_method": "mxfp4", "swizzled": true })).unwrap_err();
    assert!(error.contains("quantization_config.swizzled"), "{error}");
    let pairs = json!({ "group_0": { "weights": { "num_bits": 4, "type": "int", "strategy": "group" } } });
    let error = read(
        json!({ "quant_method": "compressed-tensors", "format": "pack-quantized", "config_groups": pairs }),
    );
    assert!(error.unwrap_err().contains("pack-quantized"));
}
