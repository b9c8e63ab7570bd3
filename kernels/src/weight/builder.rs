//! How a weight comes to be: allocated once, then filled row by row from wherever its rows lie.
//!
//! The memory is there before the first byte is read, rows may be filled from several threads, and nothing is held
//! twice. Rows that nobody fills are zero.

use std::ops::Range;
use std::sync::Arc;

use half::{bf16, f16};
use pulp::bytemuck;

use super::quantise::quantise;
use super::{Bytes, Format, Memory, OP, Storage, Weight, check_dims, mxfp4};
use crate::KernelError;
use crate::error::ensure;

/// A weight whose rows are being filled.
///
/// ```
/// use kernels::{Format, WeightBuilder};
///
/// # fn main() -> Result<(), kernels::KernelError> {
/// // Two matrices of bf16, one below the other, each from its own place.
/// let (query, key) = ([0u8; 8 * 4 * 2], [0u8; 2 * 4 * 2]);
/// let mut builder = WeightBuilder::new(Format::Bf16, &[10, 4])?;
/// builder.rows_mut(0..8).copy(&query)?;
/// builder.rows_mut(8..10).copy(&key)?;
/// assert_eq!(builder.finish().bytes(), 10 * 4 * 2);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct WeightBuilder {
    dims: Vec<usize>,
    format: Format,
    bytes: Bytes,
}

/// Some rows of a weight that is being filled. Parts of it may be sent to other threads.
#[derive(Debug)]
pub struct RowsMut<'a> {
    format: Format,
    width: usize,
    codes: &'a mut [u8],
    scales: &'a mut [u8],
}

impl WeightBuilder {
    /// Allocates a weight `[O, C]` or a stack `[E, O, C]`, all zero.
    ///
    /// # Errors
    /// Returns [`KernelError`] if the format cannot store rows of this width.
    pub fn new(format: Format, dims: &[usize]) -> Result<Self, KernelError> {
        check_dims(format, dims)?;
        let (width, rows) = (dims[dims.len() - 1], dims[..dims.len() - 1].iter().product::<usize>());
        let bytes = Bytes {
            codes: Memory::zeroed(rows * format.code_bytes(width)),
            scales: Memory::zeroed(rows * format.scale_bytes(width)),
        };
        Ok(Self { dims: dims.to_vec(), format, bytes })
    }

    /// All rows, through the whole stack.
    pub fn all(&mut self) -> RowsMut<'_> {
        let (width, rows) =
            (self.dims[self.dims.len() - 1], self.dims[..self.dims.len() - 1].iter().product::<usize>());
        RowsMut {
            format: self.format,
            width,
            codes: &mut self.bytes.codes.bytes_mut()[..rows * self.format.code_bytes(width)],
            scales: &mut self.bytes.scales.bytes_mut()[..rows * self.format.scale_bytes(width)],
        }
    }

    /// Some rows, counted through the whole stack: row `o` of matrix `e` is `e O + o`.
    ///
    /// # Panics
    /// Panics if there are fewer rows.
    pub fn rows_mut(&mut self, rows: Range<usize>) -> RowsMut<'_> {
        self.all().split_at(rows.end).0.split_at(rows.start).1
    }

    /// The finished weight.
    pub fn finish(self) -> Weight {
        Weight { dims: self.dims, format: self.format, storage: Storage::Bytes(Arc::new(self.bytes)) }
    }
}

impl RowsMut<'_> {
    /// How the elements are stored.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Elements of a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.codes.len() / self.format.code_bytes(self.width)
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// The first `rows` rows, and the others.
    ///
    /// # Panics
    /// Panics if there are fewer rows.
    pub fn split_at(self, rows: usize) -> (Self, Self) {
        let (codes, codes_after) = self.codes.split_at_mut(rows * self.format.code_bytes(self.width));
        let (scales, scales_after) = self.scales.split_at_mut(rows * self.format.scale_bytes(self.width));
        (Self { codes, scales, ..self }, Self { codes: codes_after, scales: scales_after, ..self })
    }

    /// Cut into parts of `rows` rows each; the last may be shorter.
    pub fn chunks(mut self, rows: usize) -> Vec<Self> {
        let mut parts = Vec::with_capacity(self.len().div_ceil(rows));
        while self.len() > rows {
            let (part, after) = self.split_at(rows);
            parts.push(part);
            self = after;
        }
        parts.push(self);
        parts
    }

    /// Copies rows that are stored in this format elsewhere: the bytes of a safetensors or GGUF file.
    ///
    /// # Errors
    /// Returns [`KernelError`] if the number of bytes differs, or if the format has scales of its own (then see
    /// [`Self::fp8`], [`Self::mxfp4`] and [`Self::mxfp4_of_ggml`]).
    pub fn copy(&mut self, bytes: &[u8]) -> Result<(), KernelError> {
        ensure(self.scales.is_empty(), OP, || format!("rows of {} need their scales", self.format.name()))?;
        same_len("bytes", bytes.len(), self.codes.len())?;
        self.codes.copy_from_slice(bytes);
        Ok(())
    }

    /// Stores f32 values, rounded or quantised where the format needs it.
    ///
    /// # Errors
    /// Returns [`KernelError`] if the number of values differs, or if the format is one that is only read.
    pub fn encode(&mut self, values: &[f32]) -> Result<(), KernelError> {
        same_len("values", values.len(), self.len() * self.width)?;
        match self.format {
            Format::F32 => self.codes.copy_from_slice(bytemuck::cast_slice(values)),
            Format::F16 => round(values, self.codes, |value| f16::from_f32(value).to_le_bytes()),
            Format::Bf16 => round(values, self.codes, |value| bf16::from_f32(value).to_le_bytes()),
            block => quantise(block, values, self.width, self.codes)?,
        }
        Ok(())
    }

    /// Stores FP8 codes with the scales that belong to these rows, `ceil(C / block)` for each.
    ///
    /// A checkpoint with square blocks has one row of scales for many rows of codes: call this once for each of
    /// its blocks' rows with that row repeated, or once for each row.
    ///
    /// # Errors
    /// Returns [`KernelError`] if a number differs or the format is another.
    pub fn fp8(&mut self, codes: &[u8], scales: &[f32]) -> Result<(), KernelError> {
        ensure(matches!(self.format, Format::Fp8 { .. }), OP, || {
            format!("{} is not FP8", self.format.name())
        })?;
        same_len("codes", codes.len(), self.codes.len())?;
        same_len("scales", scales.len(), self.scales.len() / size_of::<f32>())?;
        self.codes.copy_from_slice(codes);
        self.scales.copy_from_slice(bytemuck::cast_slice(scales));
        Ok(())
    }

    /// Stores MXFP4 as gpt-oss' safetensors have it: `blocks` of 16 bytes and one byte of `scales` for each.
    ///
    /// # Errors
    /// Returns [`KernelError`] if a number differs or the format is another.
    pub fn mxfp4(&mut self, blocks: &[u8], scales: &[u8]) -> Result<(), KernelError> {
        ensure(self.format == Format::Mxfp4, OP, || format!("{} is not MXFP4", self.format.name()))?;
        same_len("bytes of blocks", blocks.len(), self.codes.len())?;
        same_len("scales", scales.len(), self.scales.len())?;
        self.codes.copy_from_slice(blocks);
        self.scales.copy_from_slice(scales);
        Ok(())
    }

    /// Stores MXFP4 as GGUF files have it: blocks of 17 bytes, the scale first.
    ///
    /// # Errors
    /// Returns [`KernelError`] if the number of bytes differs or the format is another.
    pub fn mxfp4_of_ggml(&mut self, bytes: &[u8]) -> Result<(), KernelError> {
        ensure(self.format == Format::Mxfp4, OP, || format!("{} is not MXFP4", self.format.name()))?;
        same_len("bytes", bytes.len(), self.codes.len() + self.scales.len())?;
        let rows = self.codes.as_chunks_mut().0.iter_mut().zip(self.scales.iter_mut());
        for (block, (codes, scale)) in bytes.as_chunks().0.iter().zip(rows) {
            *scale = mxfp4::from_ggml(block, codes);
        }
        Ok(())
    }
}

fn round(values: &[f32], codes: &mut [u8], code: impl Fn(f32) -> [u8; 2]) {
    for (out, value) in codes.as_chunks_mut().0.iter_mut().zip(values) {
        *out = code(*value);
    }
}

fn same_len(what: &str, got: usize, want: usize) -> Result<(), KernelError> {
    ensure(got == want, OP, || format!("{got} {what} for rows that take {want}"))
}
