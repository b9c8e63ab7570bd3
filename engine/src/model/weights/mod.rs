//! A checkpoint's tensors: found by their names, moved once, from the map of their file to where they stay.
//!
//! | module | holds |
//! |---|---|
//! | `hub` | the safetensors files of a folder |
//! | `quantization` | what `config.json` says of FP8 and MXFP4 |
//! | `place` | where the rows of a tensor lie |
//! | `fill` | how they get to where they stay |
//! | `plan` | in which format a weight is kept, and how much memory that takes |
//! | `map` | files in memory |
//!
//! Nothing is read before it is asked for, and every tensor must be asked for: one that is left over means that
//! the model was misunderstood.

mod fill;
mod hub;
mod map;
mod place;
mod plan;
mod quantization;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

use candle_core::{Device, Tensor};
use kernels::{Format, Weight, WeightBuilder};

use self::fill::Files;
pub use self::fill::Watch;
pub(crate) use self::map::Map;
pub(crate) use self::place::{Place, Rows, Scales, Slice};
pub use self::plan::WeightFormat;
pub(crate) use self::quantization::Quantization;
use super::ModelError;

/// How one tensor holds the matrices `[rows, width]` of all experts, if the checkpoint has it as the hub does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    /// `[E, rows, width]`.
    Rows,
    /// `[E, width, rows]`.
    Columns,
}

/// The tensors of one checkpoint.
pub(crate) struct Weights {
    files: Files,
    places: BTreeMap<String, Place>,
    asked: RefCell<BTreeSet<String>>,
    format: WeightFormat,
}

impl Weights {
    /// Maps the files of `folder` and reads their headers.
    pub(crate) fn open(folder: &Path, quantization: &Quantization) -> Result<Self, ModelError> {
        let (maps, places) = hub::open(folder, quantization)?;
        Ok(Self::new(maps, places))
    }

    /// Tensors in files that are mapped already.
    pub(crate) fn new(maps: Vec<Map>, places: BTreeMap<String, Place>) -> Self {
        Self { files: Files::new(maps), places, asked: RefCell::default(), format: WeightFormat::AsStored }
    }

    /// Says in which format weights are to be kept, and who watches.
    pub(crate) fn keep(&mut self, format: WeightFormat, watch: Watch) {
        self.format = format;
        self.files.watch(watch);
    }

    /// Bytes of the stored rows, by the format that they are stored in.
    pub(crate) fn stored_bytes(&self) -> BTreeMap<String, u64> {
        let mut bytes = BTreeMap::new();
        for slice in self.places.values().flat_map(Place::slices) {
            *bytes.entry(slice.format.name().to_owned()).or_default() +=
                (slice.rows * slice.row_bytes()) as u64;
        }
        bytes
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
        let place = self.place(name, shape)?;
        let values = self.values(place)?;
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }

    /// Several vectors `[len]` one after the other, as f32: `parts` names them with their lengths.
    pub(crate) fn vectors(&self, parts: &[(String, usize)]) -> Result<Tensor, ModelError> {
        let mut values = Vec::with_capacity(parts.iter().map(|(_, len)| len).sum());
        for (name, len) in parts {
            values.extend(self.values(self.place(name, &[*len])?)?);
        }
        let len = values.len();
        Ok(Tensor::from_vec(values, len, &Device::Cpu)?)
    }

    /// Matrices `[rows, width]` one below the other: `parts` names them with their number of rows.
    pub(crate) fn matrix(&self, parts: &[(String, usize)], width: usize) -> Result<Weight, ModelError> {
        let rows = parts.iter().map(|(_, rows)| rows).sum();
        self.below_each_other(parts, &[rows, width])
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
        let rows: usize = parts.iter().map(|(_, rows)| rows).sum();
        self.below_each_other(parts, &[count, rows / count, width])
    }

    /// The matrices `[E, rows, width]` of all experts from one tensor.
    pub(crate) fn fused(&self, name: &str, shape: [usize; 3], stored: Stored) -> Result<Weight, ModelError> {
        let [count, rows, width] = shape;
        let turned = stored != Stored::Rows && !self.places.get(name).is_some_and(|place| place.by_rows);
        let place = self.place(name, &if turned { [count, width, rows] } else { shape })?;
        let mut builder =
            WeightBuilder::new(plan::format_of(self.format, name, place.format(), width), &shape)?;
        match (&place.rows, turned) {
            (Rows::InOrder(slice), true) if slice.scales == Scales::None && slice.format.check(1).is_ok() => {
                self.files.fill_turned(slice, builder.all(), [rows, width])?;
            }
            (_, true) => {
                return Err(wrong(name, "is quantised along its columns, which is not supported".to_owned()));
            }
            (_, false) => {
                self.files.fill(vec![(place, builder.all())])?;
            }
        }
        Ok(builder.finish())
    }

    fn below_each_other(&self, parts: &[(String, usize)], shape: &[usize]) -> Result<Weight, ModelError> {
        let width = shape[shape.len() - 1];
        let places = parts.iter().map(|(name, rows)| self.place(name, &[*rows, width]));
        let places = places.collect::<Result<Vec<_>, _>>()?;
        let first = places.first().and_then(|place| place.format());
        let one = first.filter(|_| places.iter().all(|place| place.format() == first));
        let name = parts.first().map_or("", |(name, _)| name);
        let mut builder = WeightBuilder::new(plan::format_of(self.format, name, one, width), shape)?;
        let mut rest = builder.all();
        let mut filled = Vec::with_capacity(parts.len());
        for ((_, rows), place) in parts.iter().zip(places) {
            let (part, after) = rest.split_at(*rows);
            filled.push((place, part));
            rest = after;
        }
        self.files.fill(filled)?;
        Ok(builder.finish())
    }

    /// Finds a tensor and demands its shape.
    fn place(&self, name: &str, shape: &[usize]) -> Result<&Place, ModelError> {
        self.skip(name);
        let place = self.places.get(name);
        let place = place.ok_or_else(|| wrong(name, "is missing from the checkpoint".to_owned()))?;
        if place.shape != shape {
            return Err(wrong(name, format!("has shape {:?}, the config says {shape:?}", place.shape)));
        }
        Ok(place)
    }

    /// All numbers of a tensor, as f32.
    fn values(&self, place: &Place) -> Result<Vec<f32>, ModelError> {
        let width = place.row_width();
        let mut builder = WeightBuilder::new(Format::F32, &[place.len() / width, width])?;
        self.files.fill(vec![(place, builder.all())])?;
        Ok(builder.finish().to_f32(0..place.len() / width)?)
    }

    /// Demands that every tensor was asked for.
    pub(crate) fn finish(&self) -> Result<(), ModelError> {
        let asked = self.asked.borrow();
        let mut left = self.places.keys().filter(|name| !asked.contains(*name));
        let Some(name) = left.next() else {
            self.files.finish();
            return Ok(());
        };
        let others = left.count();
        Err(wrong(name, format!("and {others} others are not part of this architecture as known here")))
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Weights").field("tensors", &self.places.len()).finish_non_exhaustive()
    }
}

fn wrong(name: &str, detail: String) -> ModelError {
    ModelError::Tensor { name: name.to_owned(), detail }
}
