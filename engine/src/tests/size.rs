//! A network's size as counted from its config agrees with the tensors of its checkpoint, and with what is published.

use std::collections::BTreeMap;

use candle_core::{Device, safetensors::load};

use super::harness::{FIXTURES, folder};
use crate::inspect::generator;
use crate::model::describe;
use crate::{Inspection, Parameters};

/// Elements of the tensors of a fixture that belong to its text model.
fn stored(name: &str) -> u64 {
    let files = std::fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path());
    let weights = files.filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.ends_with(".safetensors") && name != "ref.safetensors"
    });
    let tensors: BTreeMap<_, _> = weights.flat_map(|path| load(path, &Device::Cpu).unwrap()).collect();
    // Image encoders, and what stands beside quantised weights.
    let beside = ["vision", "projector", "_scale", "_scale_inv", "input_scale", "activation_scale"];
    let text = tensors.iter().filter(|(name, _)| !beside.iter().any(|part| name.contains(part)));
    // Two elements of MXFP4 are one byte.
    let elements = |name: &str| if name.ends_with("_blocks") { 2 } else { 1 };
    text.map(|(name, tensor)| tensor.elem_count() as u64 * elements(name)).sum()
}

#[test]
fn the_count_from_the_config_is_that_of_the_tensors() {
    for name in FIXTURES {
        let parameters = describe(&folder(name)).unwrap().1.parameters();
        assert_eq!(parameters.total, stored(name), "{name}");
        assert!(parameters.active <= parameters.total, "{name}");
    }
}

/// A published number, and one unit of its last digit.
struct Published {
    figure: f64,
    unit: f64,
}

impl Published {
    /// Within 1 %, or what rounds or was cut to the published figure.
    fn is(&self, counted: u64) -> bool {
        let difference = (counted as f64 - self.figure).abs();
        difference <= 0.01 * self.figure || difference <= self.unit
    }
}

fn billions(figure: f64, digits: i32) -> Published {
    Published { figure: figure * 1e9, unit: 1e9 * 10f64.powi(-digits) }
}

fn published(name: &str) -> Inspection {
    let file = format!("tests/published/{name}.json");
    generator(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file)).unwrap()
}

#[test]
fn the_configs_of_released_models_give_the_published_sizes() {
    // Publishers count the table of embeddings among the active parameters or not; both are shown.
    let check = |name: &str, total: &Published, active: &Published, embedding_is_active: bool, kv: usize| {
        let inspection = published(name);
        let Parameters { total: all, active: used, embedding } = inspection.parameters;
        let all = all + inspection.left_out_parameters;
        let used = used + if embedding_is_active { embedding } else { 0 };
        assert!(total.is(all), "{name}: {all} in all");
        assert!(active.is(used), "{name}: {used} active");
        assert_eq!(inspection.kv_elements_per_token() * 2, kv, "{name}: bytes of bf16 per token");
    };
    check("deepseek-v3", &billions(671.0, 0), &billions(36.6, 1), false, 70_272);
    check("qwen3-30b-a3b", &billions(30.5, 1), &billions(3.3, 1), true, 98_304);
    check("gpt-oss-120b", &billions(116.83, 2), &billions(5.13, 2), false, 73_728);
    check("llama-4-scout", &billions(109.0, 0), &billions(17.0, 0), true, 196_608);
    check("mixtral-8x22b", &billions(141.0, 0), &billions(39.0, 0), true, 229_376);
}

#[test]
fn an_inspection_says_what_is_stored_if_it_is_there() {
    let stored = generator(&folder("gpt_oss_mxfp4")).unwrap().stored.unwrap();
    assert_eq!(stored.keys().map(String::as_str).collect::<Vec<_>>(), ["bf16", "mxfp4"]);
    assert_eq!(published("mixtral-8x22b").stored, None);
}
