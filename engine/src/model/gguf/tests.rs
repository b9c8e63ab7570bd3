//! What a damaged or hostile file can do: be refused.

use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::model::{Checkpoint, WeightFormat, family};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A head as a converter would write it, of which tests leave out or change parts.
#[derive(Default)]
struct Written(Vec<u8>);

impl Written {
    fn head(tensors: u64, values: u64) -> Self {
        Self::default().bytes(b"GGUF").bytes(&3u32.to_le_bytes()).whole(tensors).whole(values)
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn whole(self, number: u64) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    fn kind(self, number: u32) -> Self {
        self.bytes(&number.to_le_bytes())
    }

    fn text(self, text: &str) -> Self {
        self.whole(text.len() as u64).bytes(text.as_bytes())
    }

    fn tensor(self, name: &str, dims: &[u64], kind: u32, at: u64) -> Self {
        let start = self.text(name).kind(dims.len() as u32);
        dims.iter().fold(start, |written, dim| written.whole(*dim)).kind(kind).whole(at)
    }

    fn open(self) -> Result<Gguf, String> {
        let (_folder, path) = self.file();
        Gguf::open(&path).map_err(|error| error.to_string())
    }

    fn file(self) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.gguf");
        std::fs::write(&path, self.0).unwrap();
        (folder, path)
    }

    fn refused(self, why: &str) {
        let error = self.open().expect_err(why);
        assert!(error.contains(why), "{error}");
    }
}

#[test]
fn a_length_that_exceeds_the_file_is_refused_before_anything_is_allocated() {
    Written::head(u64::MAX, 0).refused("ends inside the number of tensors");
    Written::head(0, u64::MAX / 2).refused("ends inside the number of values");
    Written::head(0, 1).whole(u64::MAX).refused("ends inside a key");
    Written::head(0, 1).text("key").kind(8).whole(1 << 60).refused("ends inside a value");
    Written::head(0, 1).text("key").kind(9).kind(8).whole(1 << 60).refused("the length of a list");
    // As many elements as bytes are left, but wider ones.
    Written::head(0, 1).text("key").kind(9).kind(12).whole(64).bytes(&[0; 64]).refused("ends inside a list");
}

#[test]
fn values_that_no_converter_writes_are_refused() {
    Written::default().bytes(b"GGML").refused("does not begin as a GGUF file does");
    Written::default().bytes(b"GGUF").kind(1).refused("version 1");
    Written::default().bytes(b"GGUF").bytes(&3u32.to_be_bytes()).refused("version 50331648");
    Written::head(0, 1).text("key").kind(99).refused("no type of value 99");
    Written::head(0, 1).text("key").kind(7).bytes(&[2]).refused("a flag is 2");
    Written::head(0, 1).text("key").kind(9).kind(9).whole(0).refused("lists of type 9");
    Written::head(0, 2)
        .text("key")
        .kind(7)
        .bytes(&[1])
        .text("key")
        .kind(7)
        .bytes(&[1])
        .refused("key is there twice");
    for alignment in [0, 3, 1 << 30] {
        let head = Written::head(0, 1).text("general.alignment").kind(4).kind(alignment);
        head.refused("general.alignment");
    }
}

#[test]
fn tensors_that_cannot_be_are_refused() {
    Written::head(1, 0).tensor("a", &[32], 0, 0).refused("ends inside a tensor");
    Written::head(1, 0).tensor("a", &[32], 0, 1).refused("multiple of 32");
    Written::head(1, 0).tensor("a", &[1; 5], 0, 0).refused("5 dimensions");
    Written::head(1, 0).tensor("a", &[], 0, 0).refused("0 dimensions");
    Written::head(1, 0).tensor("a", &[0, 4], 0, 0).refused("cannot be");
    Written::head(1, 0).tensor("a", &[33, 1], 8, 0).refused("cannot be");
    Written::head(1, 0).tensor("a", &[32], 16, 0).refused("type 16");
    for huge in [u64::MAX, 1 << 62, 1 << 33] {
        Written::head(1, 0).tensor("a", &[huge], 0, 0).refused("ends inside a tensor");
        Written::head(1, 0).tensor("a", &[32, huge, huge], 0, 0).open().unwrap_err();
        Written::head(1, 0).tensor("a", &[4], 0, huge / 32 * 32).refused("ends inside a tensor");
    }
    let twice = Written::head(2, 0).tensor("a", &[1], 0, 0).tensor("a", &[1], 0, 0).bytes(&[0; 64]);
    twice.refused("tensor a is there twice");
}

#[test]
fn a_part_of_a_model_alone_is_refused() {
    let place = tempfile::tempdir().unwrap();
    let name = "model-00001-of-00003.gguf";
    std::fs::copy(golden("gguf_mixtral").join(name), place.path().join(name)).unwrap();
    let error = Gguf::open(&place.path().join(name)).unwrap_err().to_string();
    assert!(error.contains("model-00002-of-00003.gguf"), "{error}");
    std::fs::copy(golden("gguf_mixtral").join(name), place.path().join("renamed.gguf")).unwrap();
    let error = Gguf::open(&place.path().join("renamed.gguf")).unwrap_err().to_string();
    assert!(error.contains("one of 3 files, 1 are here"), "{error}");
}

#[test]
fn a_key_or_a_tensor_that_nobody_understands_is_refused_by_name() {
    let bytes = std::fs::read(golden("gguf_qwen3/model.gguf")).unwrap();
    let replaced = |from: &str, to: &str| {
        let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
        Written([&bytes[..at], to.as_bytes(), &bytes[at + from.len()..]].concat()).file()
    };
    let (_folder, path) = replaced("qwen3.vocab_size", "qwen3.logit_soft");
    let error = Gguf::open(&path).unwrap().config().unwrap_err().to_string();
    assert!(error.contains("qwen3.logit_soft = 131"), "{error}");
    let (_folder, path) = replaced("blk.1.attn_q_norm", "blk.1.attn_x_norm");
    let checkpoint = Checkpoint::open(&path).unwrap();
    let error = checkpoint.load(WeightFormat::AsStored, Arc::new(|_, _| {})).unwrap_err().to_string();
    assert!(error.contains("model.layers.1.self_attn.q_norm.weight is missing"), "{error}");
    let (_folder, path) = replaced("\u{5}\0\0\0\0\0\0\0qwen3", "\u{5}\0\0\0\0\0\0\0mamba");
    let error = Gguf::open(&path).unwrap().config().unwrap_err().to_string();
    assert!(error.contains("mamba (of GGUF)") && error.contains("qwen3moe"), "{error}");
}

#[test]
fn whatever_number_a_size_is_given_the_model_is_refused_or_loaded_and_nothing_is_allocated_for_it() {
    for name in [
        "gguf_llama/model.gguf",
        "gguf_deepseek_v3/model.gguf",
        "gguf_gpt_oss/model.gguf",
        "gguf_qwen3_moe/model.gguf",
    ] {
        let bytes = std::fs::read(golden(name)).unwrap();
        let gguf = Gguf::open(&golden(name)).unwrap();
        let prefix = format!("{}.", gguf.architecture().unwrap());
        let sizes = gguf
            .metadata
            .keys_below(&prefix)
            .filter(|key| matches!(gguf.metadata.find_size(key), Ok(Some(_))));
        let sizes: Vec<&str> = sizes.collect();
        assert!(sizes.len() > 8);
        for key in sizes {
            let at =
                bytes.windows(key.len()).position(|window| window == key.as_bytes()).unwrap() + key.len();
            // After the key comes its type, which is a u32.
            assert_eq!(bytes[at..at + 4], [4, 0, 0, 0], "{key}");
            for number in [0u32, 1, 3, 1 << 12, 1 << 14, 1 << 20, 1 << 26, u32::MAX] {
                let mut changed = bytes.clone();
                changed[at + 4..at + 8].copy_from_slice(&number.to_le_bytes());
                let (_folder, path) = Written(changed).file();
                if let Ok(checkpoint) = Checkpoint::open(&path) {
                    let _ = checkpoint.load(WeightFormat::AsStored, Arc::new(|_, _| {}));
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Reads on whatever comes, and as far as a description of the network if it is read at all.
    #[test]
    fn a_changed_head_is_read_or_refused_and_never_a_panic(
        fixture in prop::sample::select(vec!["gguf_llama/model.gguf", "gguf_types/model.gguf", "gguf_vocabulary/pieces.gguf"]),
        changes in prop::collection::vec((0usize..4096, any::<u8>()), 1..8),
        cut in prop::option::of(0usize..8192),
    ) {
        let mut bytes = std::fs::read(golden(fixture)).unwrap();
        let len = bytes.len();
        for (at, byte) in changes {
            bytes[at % len] = byte;
        }
        bytes.truncate(cut.unwrap_or(len));
        let (_folder, path) = Written(bytes).file();
        if let Ok(gguf) = Gguf::open(&path) {
            if let Ok(config) = gguf.config() {
                let _ = family::describe(&config);
            }
            let _ = crate::text::GgufText::read(&gguf);
            let _ = gguf.weights();
        }
    }
}
