//! A checkpoint's tensors, mapped into memory and widened straight into place.
//!
//! A folder holds either `model.safetensors` or several files with `model.safetensors.index.json`. Nothing is
//! read before it is asked for, and what is asked for goes from the map to its final slice in one pass, so
//! loading never holds the weights twice. Every tensor must be asked for: one that is left over means that the
//! model was misunderstood.

#![expect(unsafe_code, reason = "mapping a file into memory has no safe form")]

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use half::{bf16, f16};
use kernels::Weight;
use memmap2::Mmap;
use rayon::prelude::*;
use safetensors::{Dtype, SafeTensors};

use super::ModelError;

/// Elements converted per thread at a time.
const CONVERT_CHUNK: usize = 1 << 16;

/// Where one tensor lies.
#[derive(Debug)]
struct Place {
    file: usize,
    dtype: Dtype,
    shape: Vec<usize>,
    start: usize,
    end: usize,
}

/// How one tensor holds the matrices `[rows, width]` of all experts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// `[E, rows, width]`.
    Rows,
    /// `[E, width, rows]`.
    Columns,
}

/// The tensors of one checkpoint.
#[derive(Debug)]
pub(crate) struct Weights {
    files: Vec<Mmap>,
    places: HashMap<String, Place>,
    asked: RefCell<BTreeSet<String>>,
}

impl Weights {
    /// Maps the files of `folder` and reads their headers.
    pub(crate) fn open(folder: &Path) -> Result<Self, ModelError> {
        let mut weights = Self { files: Vec::new(), places: HashMap::new(), asked: RefCell::default() };
        for path in weight_files(folder)? {
            weights.add(&path)?;
        }
        Ok(weights)
    }

    fn add(&mut self, path: &Path) -> Result<(), ModelError> {
        let read = |source| ModelError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(read)?;
        // SAFETY: the map is only read. A checkpoint that somebody else truncates while it is served kills the
        // process (SIGBUS); model folders are read-only to the service for that reason.
        let map = unsafe { Mmap::map(&file) }.map_err(read)?;
        let damaged = |source| ModelError::Safetensors { path: path.to_owned(), source };
        let (header, metadata) = SafeTensors::read_metadata(&map).map_err(damaged)?;
        let data = header + size_of::<u64>();
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let (start, end) = (data + start, data + end);
            let place =
                Place { file: self.files.len(), dtype: info.dtype, shape: info.shape.clone(), start, end };
            if end > map.len() || self.places.insert(name.clone(), place).is_some() {
                return Err(ModelError::Tensor {
                    name,
                    detail: "is cut off or appears in two files".to_owned(),
                });
            }
        }
        self.files.push(map);
        Ok(())
    }

    /// Whether the checkpoint has a tensor of this name.
    pub(crate) fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Marks a tensor as known without reading it.
    pub(crate) fn skip(&self, name: &str) {
        self.asked.borrow_mut().insert(name.to_owned());
    }

    /// Marks all tensors below `prefix` as known without reading them.
    pub(crate) fn skip_below(&self, prefix: &str) {
        let below = self.places.keys().filter(|name| name.starts_with(prefix));
        self.asked.borrow_mut().extend(below.cloned());
    }

    /// One tensor that is no matrix of a product (a norm, a bias), as f32.
    pub(crate) fn vector(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        let mut values = vec![0f32; shape.iter().product()];
        self.load_into(name, shape, &mut values)?;
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }

    /// Several vectors `[len]` one after the other, as f32: `parts` names them with their lengths.
    pub(crate) fn vectors(&self, parts: &[(String, usize)]) -> Result<Tensor, ModelError> {
        let values = self.stacked(parts, &[])?;
        let len = values.len();
        Ok(Tensor::from_vec(values, len, &Device::Cpu)?)
    }

    /// Matrices `[rows, width]` one below the other: `parts` names them with their number of rows.
    pub(crate) fn matrix(&self, parts: &[(String, usize)], width: usize) -> Result<Weight, ModelError> {
        let values = self.stacked(parts, &[width])?;
        let rows = values.len() / width;
        Ok(Weight::dense(Tensor::from_vec(values, (rows, width), &Device::Cpu)?)?)
    }

    /// The matrix `[rows, width]` of a router or a gate, as f32: choices hang on its last bits.
    pub(crate) fn router(&self, name: &str, rows: usize, width: usize) -> Result<Weight, ModelError> {
        Ok(Weight::dense(self.vector(name, &[rows, width])?)?)
    }

    /// The matrices of `count` experts: as [`Self::matrix`], with the same number of rows for each.
    pub(crate) fn stack(
        &self,
        parts: &[(String, usize)],
        count: usize,
        width: usize,
    ) -> Result<Weight, ModelError> {
        let values = self.stacked(parts, &[width])?;
        let rows = values.len() / width / count;
        Ok(Weight::dense(Tensor::from_vec(values, (count, rows, width), &Device::Cpu)?)?)
    }

    /// The matrices `[E, rows, width]` of all experts from one tensor.
    pub(crate) fn fused(&self, name: &str, shape: [usize; 3], stored: Stored) -> Result<Weight, ModelError> {
        let [count, rows, width] = shape;
        let mut values = vec![0f32; count * rows * width];
        match stored {
            Stored::Rows => self.load_into(name, &shape, &mut values)?,
            Stored::Columns => {
                let mut columns = vec![0f32; values.len()];
                self.load_into(name, &[count, width, rows], &mut columns)?;
                let experts = values.par_chunks_mut(rows * width).zip(columns.par_chunks(rows * width));
                experts.for_each(|(out, columns)| {
                    for (r, out) in out.chunks_exact_mut(width).enumerate() {
                        out.iter_mut()
                            .zip(columns.chunks_exact(rows))
                            .for_each(|(out, column)| *out = column[r]);
                    }
                });
            }
        }
        Ok(Weight::dense(Tensor::from_vec(values, &shape, &Device::Cpu)?)?)
    }

    fn stacked(&self, parts: &[(String, usize)], row: &[usize]) -> Result<Vec<f32>, ModelError> {
        let rows: usize = parts.iter().map(|(_, rows)| rows).sum();
        let row_len: usize = row.iter().product();
        let mut values = vec![0f32; rows * row_len];
        let mut rest = values.as_mut_slice();
        for (name, rows) in parts {
            let (part, after) = rest.split_at_mut(rows * row_len);
            self.load_into(name, &[&[*rows], row].concat(), part)?;
            rest = after;
        }
        Ok(values)
    }

    /// Widens one tensor into `out`, which has exactly its number of elements.
    fn load_into(&self, name: &str, shape: &[usize], out: &mut [f32]) -> Result<(), ModelError> {
        self.skip(name);
        let wrong = |detail| ModelError::Tensor { name: name.to_owned(), detail };
        let place =
            self.places.get(name).ok_or_else(|| wrong("is missing from the checkpoint".to_owned()))?;
        if place.shape != shape {
            return Err(wrong(format!("has shape {:?}, the config says {shape:?}", place.shape)));
        }
        let bytes = &self.files[place.file][place.start..place.end];
        match place.dtype {
            Dtype::F32 => widen(bytes, out, |[a, b, c, d]| f32::from_le_bytes([a, b, c, d])),
            Dtype::F16 => widen(bytes, out, |[a, b]| f16::from_le_bytes([a, b]).to_f32()),
            Dtype::BF16 => widen(bytes, out, |[a, b]| bf16::from_le_bytes([a, b]).to_f32()),
            other => return Err(wrong(format!("is stored as {other:?}; f32, f16 and bf16 are read"))),
        }
        Ok(())
    }

    /// Demands that every tensor was asked for.
    pub(crate) fn finish(&self) -> Result<(), ModelError> {
        let asked = self.asked.borrow();
        let mut left: Vec<&str> =
            self.places.keys().filter(|name| !asked.contains(*name)).map(String::as_str).collect();
        left.sort_unstable();
        match left.first() {
            None => Ok(()),
            Some(name) => Err(ModelError::Tensor {
                name: (*name).to_owned(),
                detail: format!(
                    "and {} others are not part of this architecture as known here",
                    left.len() - 1
                ),
            }),
        }
    }
}

fn widen<const W: usize>(bytes: &[u8], out: &mut [f32], convert: impl Fn([u8; W]) -> f32 + Sync) {
    assert_eq!(
        bytes.len(),
        out.len() * W,
        "the header's shape and byte range were checked against each other"
    );
    out.par_chunks_mut(CONVERT_CHUNK).zip(bytes.par_chunks(CONVERT_CHUNK * W)).for_each(|(out, bytes)| {
        for (value, bytes) in out.iter_mut().zip(bytes.chunks_exact(W)) {
            *value = convert(bytes.try_into().expect("chunks have the element's width"));
        }
    });
}

/// The part of an index file that says where tensors are.
#[derive(serde::Deserialize)]
struct Index {
    weight_map: HashMap<String, String>,
}

/// The safetensors files of a folder: the single one, or those that the index names.
fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, ModelError> {
    let single = folder.join("model.safetensors");
    if single.exists() {
        return Ok(vec![single]);
    }
    let path = folder.join("model.safetensors.index.json");
    let text =
        std::fs::read_to_string(&path).map_err(|source| ModelError::Read { path: path.clone(), source })?;
    let index: Index =
        serde_json::from_str(&text).map_err(|source| ModelError::Json { path: path.clone(), source })?;
    let names: BTreeSet<String> = index.weight_map.into_values().collect();
    // A name with a separator would reach outside the folder.
    match names.iter().find(|name| Path::new(name).file_name() != Some(name.as_ref())) {
        Some(name) => {
            Err(ModelError::Tensor { name: name.clone(), detail: "is not a plain file name".to_owned() })
        }
        None => Ok(names.iter().map(|name| folder.join(name)).collect()),
    }
}
