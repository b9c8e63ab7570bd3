//! Some rows of a weight, borrowed: what the loop of a product reads.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched function is compiled without its instructions"
)]

use std::ops::Range;

use pulp::{Simd, bytemuck};

use super::{Format, float, fp8, ggml, kquants, mxfp4};
use crate::lanes::{Eight, Kernel, dispatch};

/// Decodes block after block. No function that takes the decoder: a function behind `impl Fn` is not inlined before
/// its own calls are, and then those have lost the instructions they need.
macro_rules! each_block {
    ($eight:ident, $codes:ident, $out:ident, $decode:path) => {
        for (block, out) in $codes.as_chunks().0.iter().zip($out.as_chunks_mut().0) {
            $decode($eight, block, out);
        }
    };
}

/// Rows of `width` elements in one format.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows<'a> {
    pub(super) format: Format,
    pub(super) width: usize,
    /// The rows' elements, [`Format::code_bytes`] each.
    pub(super) codes: &'a [u8],
    /// The rows' scales, [`Format::scale_bytes`] each.
    pub(super) scales: &'a [u8],
}

impl<'a> Rows<'a> {
    /// Rows that are f32 already.
    pub(crate) fn dense(values: &'a [f32], width: usize) -> Self {
        Self { format: Format::F32, width, codes: bytemuck::cast_slice(values), scales: &[] }
    }

    pub(crate) fn width(self) -> usize {
        self.width
    }

    pub(crate) fn len(self) -> usize {
        self.codes.len() / self.format.code_bytes(self.width)
    }

    pub(crate) fn slice(self, rows: Range<usize>) -> Self {
        let part = |bytes: &'a [u8], each: usize| &bytes[rows.start * each..rows.end * each];
        let codes = part(self.codes, self.format.code_bytes(self.width));
        Self { codes, scales: part(self.scales, self.format.scale_bytes(self.width)), ..self }
    }

    /// All elements, if they need no decoding.
    pub(crate) fn as_f32(self) -> Option<&'a [f32]> {
        (self.format == Format::F32).then(|| bytemuck::cast_slice(self.codes))
    }

    /// Writes some columns of a row as f32; they begin and end between blocks.
    ///
    /// The value of an element does not depend on how a row is cut into calls.
    #[inline(always)]
    pub(crate) fn decode<E: Eight>(self, e: E, row: usize, columns: Range<usize>, out: &mut [f32]) {
        let format = self.format;
        let (elements, bytes) = format.block();
        let codes = &self.codes[row * format.code_bytes(self.width)..];
        let codes = &codes[columns.start / elements * bytes..columns.end / elements * bytes];
        let scales = &self.scales[row * format.scale_bytes(self.width)..];
        match format {
            Format::F32 => out.copy_from_slice(bytemuck::cast_slice(codes)),
            Format::F16 => float::f16(e, codes, out),
            Format::Bf16 => float::bf16(e, codes, out),
            Format::Fp8 { block } => fp8::decode(e, codes, (scales, block), columns.start, out),
            Format::Mxfp4 => mxfp4::decode(e, codes, &scales[columns.start / 32..], out),
            Format::Q4_0 => each_block!(e, codes, out, ggml::q4_0),
            Format::Q4_1 => each_block!(e, codes, out, ggml::q4_1),
            Format::Q5_0 => each_block!(e, codes, out, ggml::q5_0),
            Format::Q5_1 => each_block!(e, codes, out, ggml::q5_1),
            Format::Q8_0 => each_block!(e, codes, out, ggml::q8_0),
            Format::Q2K => each_block!(e, codes, out, kquants::q2_k),
            Format::Q3K => each_block!(e, codes, out, kquants::q3_k),
            Format::Q4K => each_block!(e, codes, out, kquants::q4_k),
            Format::Q5K => each_block!(e, codes, out, kquants::q5_k),
            Format::Q6K => each_block!(e, codes, out, kquants::q6_k),
        }
    }

    /// Writes the rows with these numbers as f32, one below the other.
    pub(crate) fn decode_rows(self, numbers: impl Iterator<Item = usize>, out: &mut [f32]) {
        dispatch(DecodeRows { rows: self, numbers, out });
    }
}

struct DecodeRows<'a, N> {
    rows: Rows<'a>,
    numbers: N,
    out: &'a mut [f32],
}

impl<N: Iterator<Item = usize>> Kernel for DecodeRows<'_, N> {
    #[inline(always)]
    fn run<S: Simd, E: Eight>(self, _: S, eight: E) {
        let width = self.rows.width;
        for (number, out) in self.numbers.zip(self.out.chunks_exact_mut(width)) {
            self.rows.decode(eight, number, 0..width, out);
        }
    }
}
