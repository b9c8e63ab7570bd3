//! GGUF files: one file, or several, that hold a whole model.
//!
//! | module | holds |
//! |---|---|
//! | `header` | the head of a file, read without trusting it |
//! | `value` | the metadata |
//! | `config` | the metadata as a `config.json` |
//! | `names` | the tensors under the hub's names |
//!
//! A file is translated into what the families read already, so no family knows of GGUF; `text::gguf` does the same
//! with its vocabulary. Deliberately absent:
//! types that need a table of their own (IQ), adapters, and vision.

mod config;
mod header;
mod names;
#[cfg(test)]
mod tests;
mod value;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kernels::Format;

pub use self::header::GgufError;
pub(crate) use self::value::Metadata;
use super::ModelError;
use super::config::Config;
use super::weights::{Map, Scales, Slice, Weights};

/// Files of one model; more is a mistake in a name.
const FILES_MAX: usize = 1000;

/// The number of ggml's MXFP4, whose halves are in another order than the hub's.
const KIND_MXFP4: u32 = 39;

/// An open model.
#[derive(Debug)]
pub(crate) struct Gguf {
    files: Vec<Map>,
    metadata: Metadata,
    tensors: BTreeMap<String, Tensor>,
}

/// A tensor of a file.
#[derive(Clone, Debug)]
struct Tensor {
    shape: Vec<usize>,
    stored: Slice,
}

impl Gguf {
    /// Whether a path names a GGUF file rather than a folder.
    pub(crate) fn is_named_by(path: &Path) -> bool {
        path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
    }

    /// Opens the file at `path`, and its companions if it is one of several.
    pub(crate) fn open(path: &Path) -> Result<Self, ModelError> {
        let mut gguf = Self { files: Vec::new(), metadata: Metadata::default(), tensors: BTreeMap::new() };
        for (i, path) in parts(path)?.iter().enumerate() {
            let map = Map::open(path)?;
            let wrong = |source| ModelError::Gguf { path: path.clone(), source };
            let head = header::read(map.bytes()).map_err(wrong)?;
            for info in head.tensors {
                let name = info.name.clone();
                let tensor = tensor(info, i, map.bytes().len()).map_err(wrong)?;
                if gguf.tensors.insert(name.clone(), tensor).is_some() {
                    return Err(wrong(GgufError::Invalid(format!("tensor {name} is there twice"))));
                }
            }
            let metadata = Metadata::new(head.metadata);
            let number = metadata.find_size("split.no")?.unwrap_or(0);
            if number != i {
                return Err(wrong(GgufError::Invalid(format!("it is part {number}, its name says {i}"))));
            }
            if i == 0 {
                gguf.metadata = metadata;
            }
            gguf.files.push(map);
        }
        let (count, said) = (gguf.files.len(), gguf.metadata.find_size("split.count")?.unwrap_or(1));
        if count != said.max(1) {
            let detail = format!("it is one of {said} files, {count} are here");
            return Err(ModelError::Gguf { path: path.to_owned(), source: GgufError::Invalid(detail) });
        }
        Ok(gguf)
    }

    /// Where the model lies, for messages.
    pub(crate) fn path(&self) -> &Path {
        self.files[0].path()
    }

    pub(crate) fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The metadata as the config that the families read.
    pub(crate) fn config(&self) -> Result<Config, ModelError> {
        config::translate(self)
    }

    /// The tensors under the hub's names.
    pub(crate) fn weights(self) -> Result<Weights, ModelError> {
        let places = names::translate(&self)?;
        Ok(Weights::new(self.files, places))
    }

    fn architecture(&self) -> Result<&str, ModelError> {
        let name = "general.architecture";
        self.metadata
            .find_text(name)?
            .ok_or(ModelError::Metadata { name: name.to_owned(), expected: "a text" })
    }

    /// V.
    fn vocabulary(&self) -> Result<usize, ModelError> {
        match self.tensors.get("token_embd.weight").map(|tensor| tensor.shape.as_slice()) {
            Some(&[vocabulary, _]) => Ok(vocabulary),
            _ => Err(ModelError::Tensor {
                name: "token_embd.weight".to_owned(),
                detail: "is missing from the file or no matrix".to_owned(),
            }),
        }
    }

    /// Whether a layer has a router.
    fn has_router(&self, layer: usize) -> bool {
        self.tensors.contains_key(&format!("blk.{layer}.ffn_gate_inp.weight"))
    }

    /// What each rope frequency is divided by, if the file says so for each of them.
    fn rope_factors(&self) -> Result<Option<Vec<f32>>, ModelError> {
        let name = "rope_freqs.weight";
        let Some(tensor) = self.tensors.get(name) else { return Ok(None) };
        let Format::F32 = tensor.stored.format else {
            let detail = "is not stored as f32".to_owned();
            return Err(ModelError::Tensor { name: name.to_owned(), detail });
        };
        let range = tensor.stored.bytes(0..tensor.stored.rows);
        let bytes = &self.files[tensor.stored.file].bytes()[range];
        Ok(Some(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
    }
}

/// Checks a tensor of file number `file`, which has `file_bytes`.
fn tensor(info: header::Info, file: usize, file_bytes: usize) -> Result<Tensor, GgufError> {
    let header::Info { name, shape, kind, start } = info;
    let format = Format::of_ggml(kind).ok_or_else(|| {
        let read = "F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K to Q6_K and MXFP4 are read";
        GgufError::Invalid(format!("tensor {name} has ggml's type {kind}; {read}"))
    })?;
    let invalid = || GgufError::Invalid(format!("tensor {name} has the shape {shape:?}, which cannot be"));
    let width = *shape.last().expect("the head was checked for a dimension");
    format.check(width).map_err(|_| invalid())?;
    let rows = shape[..shape.len() - 1].iter().try_fold(1, |rows: usize, n| rows.checked_mul(*n));
    let rows = rows.filter(|rows| *rows > 0).ok_or_else(invalid)?;
    let scales = if kind == KIND_MXFP4 { Scales::Ggml } else { Scales::None };
    let stored = Slice { file, start, rows, width, format, scales };
    // A row is shorter than the file, or this fails before the product could be too large.
    let bytes =
        if width > file_bytes.saturating_mul(8) { None } else { stored.row_bytes().checked_mul(rows) };
    match bytes.and_then(|bytes| start.checked_add(bytes)) {
        Some(end) if end <= file_bytes => Ok(Tensor { shape, stored }),
        _ => Err(GgufError::Cut("a tensor")),
    }
}

/// The files of a model: `path`, or all of `NAME-0000I-of-0000N.gguf` if it is named like that.
fn parts(path: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let numbered = || {
        let (stem, count) = path.file_stem()?.to_str()?.rsplit_once("-of-")?;
        let (stem, number) = stem.rsplit_once('-')?;
        let is_number = |text: &str| text.len() == 5 && text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number(number) || !is_number(count) {
            return None;
        }
        Some((stem, count.parse::<usize>().ok()?, count))
    };
    let Some((stem, count, text)) = numbered() else { return Ok(vec![path.to_owned()]) };
    if !(1..=FILES_MAX).contains(&count) {
        let detail = format!("its name says it is one of {count} files, which cannot be");
        return Err(ModelError::Gguf { path: path.to_owned(), source: GgufError::Invalid(detail) });
    }
    Ok((1..=count).map(|i| path.with_file_name(format!("{stem}-{i:05}-of-{text}.gguf"))).collect())
}
