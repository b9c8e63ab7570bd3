//! The weights of a matrix product, in the type in which they are stored.
//!
//! A weight is rows of one [`Format`]. Products decode them a few rows at a time (see `linear.rs`), so memory holds
//! what the checkpoint holds and no f32 copy of it. The result has the bits that the same weight would give if it
//! were decoded to f32 before: a format decides about memory and speed, never about the order of a sum.
//!
//! Deliberately absent: reading files (the loader's), and arithmetic on quantised activations.

mod builder;
mod float;
mod format;
mod fp8;
mod ggml;
mod kquants;
mod memory;
mod mxfp4;
mod quantise;
mod rows;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use candle_core::Tensor;

pub use self::builder::{RowsMut, WeightBuilder};
pub use self::format::Format;
use self::memory::Memory;
pub(crate) use self::rows::Rows;
use crate::KernelError;
use crate::error::ensure;
use crate::view::HostView;

const OP: &str = "weight";

// Elements are read where a little-endian checkpoint put them.
const _: () = assert!(cfg!(target_endian = "little"), "weights are kept in little-endian order");

/// A matrix `[O, C]`, or a stack of them `[E, O, C]`, stored row by row. Clones share their storage.
#[derive(Clone, Debug)]
pub struct Weight {
    dims: Vec<usize>,
    format: Format,
    storage: Storage,
}

#[derive(Clone, Debug)]
enum Storage {
    /// Contiguous f32 on the host.
    Tensor(Tensor),
    Bytes(Arc<Bytes>),
}

/// Rows as [`Rows`] describes them; words rather than bytes, so that elements of any type are aligned.
#[derive(Debug)]
struct Bytes {
    codes: Memory,
    scales: Memory,
}

/// A weight that is locked for reading.
pub(crate) enum Reading<'a> {
    Tensor(HostView<'a>, usize),
    Bytes(Rows<'a>),
}

impl Weight {
    /// A weight kept as it is.
    ///
    /// | argument | shape | type |
    /// |---|---|---|
    /// | `dense` | `[O, C]` or `[E, O, C]` | f32, contiguous |
    ///
    /// # Errors
    /// Returns [`KernelError`] if shape or type differ.
    pub fn dense(dense: Tensor) -> Result<Self, KernelError> {
        check_dims(Format::F32, dense.dims())?;
        HostView::new(OP, &dense)?.f32(OP)?;
        Ok(Self { dims: dense.dims().to_vec(), format: Format::F32, storage: Storage::Tensor(dense) })
    }

    /// A weight of `values`, row by row, in `format`: rounded or quantised where the format needs it.
    ///
    /// # Errors
    /// Returns [`KernelError`] if the shape does not fit the values or the format, or as [`RowsMut::encode`].
    pub fn encode(format: Format, dims: &[usize], values: &[f32]) -> Result<Self, KernelError> {
        let mut builder = WeightBuilder::new(format, dims)?;
        builder.all().encode(values)?;
        Ok(builder.finish())
    }

    /// `[O, C]` or `[E, O, C]`.
    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    /// How the elements are stored.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Memory that the weight holds, in bytes.
    pub fn bytes(&self) -> usize {
        self.row_count() * self.format.row_bytes(self.width())
    }

    /// Some rows as f32, counted through the whole stack: row `o` of matrix `e` is `e O + o`.
    ///
    /// # Errors
    /// Returns [`KernelError`] if there are fewer rows.
    pub fn to_f32(&self, rows: Range<usize>) -> Result<Vec<f32>, KernelError> {
        let count = self.row_count();
        ensure(rows.start <= rows.end && rows.end <= count, OP, || format!("rows {rows:?} of {count}"))?;
        let reading = self.read(OP)?;
        let all = reading.rows();
        let mut out = vec![0f32; rows.len() * self.width()];
        all.decode_rows(rows, &mut out);
        Ok(out)
    }

    /// `[O, C]`, or an error if this is a stack.
    pub(crate) fn dims2(&self, op: &'static str) -> Result<(usize, usize), KernelError> {
        let shape = || format!("expected a matrix, the weight has shape {:?}", self.dims);
        ensure(self.dims.len() == 2, op, shape)?;
        Ok((self.dims[0], self.dims[1]))
    }

    /// `[E, O, C]`, or an error if this is one matrix.
    pub(crate) fn dims3(&self, op: &'static str) -> Result<[usize; 3], KernelError> {
        let shape = || format!("expected a stack, the weight has shape {:?}", self.dims);
        ensure(self.dims.len() == 3, op, shape)?;
        Ok([self.dims[0], self.dims[1], self.dims[2]])
    }

    /// Locks the weight for reading.
    pub(crate) fn read(&self, op: &'static str) -> Result<Reading<'_>, KernelError> {
        Ok(match &self.storage {
            Storage::Tensor(dense) => {
                let view = HostView::new(op, dense)?;
                view.f32(op)?;
                Reading::Tensor(view, self.width())
            }
            Storage::Bytes(bytes) => {
                let (rows, width) = (self.row_count(), self.width());
                Reading::Bytes(Rows {
                    format: self.format,
                    width,
                    codes: &bytes.codes.bytes()[..rows * self.format.code_bytes(width)],
                    scales: &bytes.scales.bytes()[..rows * self.format.scale_bytes(width)],
                })
            }
        })
    }

    fn width(&self) -> usize {
        self.dims[self.dims.len() - 1]
    }

    fn row_count(&self) -> usize {
        self.dims[..self.dims.len() - 1].iter().product()
    }
}

impl Reading<'_> {
    /// All rows, through the whole stack.
    pub(crate) fn rows(&self) -> Rows<'_> {
        match self {
            Self::Tensor(view, width) => {
                Rows::dense(view.f32(OP).expect("checked when it was locked"), *width)
            }
            Self::Bytes(rows) => *rows,
        }
    }
}

fn check_dims(format: Format, dims: &[usize]) -> Result<(), KernelError> {
    ensure(matches!(dims.len(), 2 | 3), OP, || format!("shape {dims:?} is no matrix"))?;
    format.check(dims[dims.len() - 1])
}
