//! The plain block types of GGUF files: 32 elements around one f16 scale.
//!
//! Each element is computed with the operations, and so the rounding, of the formats' reference implementation.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched function is compiled without its instructions"
)]

use super::float::f16_to_f32;

/// Decodes block after block: `N` bytes into `M` elements.
#[inline(always)]
pub(super) fn blocks<const N: usize, const M: usize>(
    codes: &[u8],
    out: &mut [f32],
    decode: impl Fn(&[u8; N], &mut [f32; M]),
) {
    for (block, out) in codes.as_chunks().0.iter().zip(out.as_chunks_mut().0) {
        decode(block, out);
    }
}

/// The f16 at byte `at` of a block.
#[inline(always)]
pub(super) fn half_at(block: &[u8], at: usize) -> f32 {
    f16_to_f32(u16::from_le_bytes([block[at], block[at + 1]]))
}

/// Scale, then 16 bytes: the low halves are the first 16 elements, the high ones the others.
#[inline(always)]
pub(super) fn q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    for i in 0..16 {
        let code = i32::from(block[2 + i]);
        out[i] = ((code & 15) - 8) as f32 * scale;
        out[i + 16] = ((code >> 4) - 8) as f32 * scale;
    }
}

/// Scale, minimum, then as [`q4_0`].
#[inline(always)]
pub(super) fn q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (scale, min) = (half_at(block, 0), half_at(block, 2));
    for i in 0..16 {
        let code = i32::from(block[4 + i]);
        out[i] = (code & 15) as f32 * scale + min;
        out[i + 16] = (code >> 4) as f32 * scale + min;
    }
}

/// Scale, then the fifth bit of each element, then as [`q4_0`].
#[inline(always)]
pub(super) fn q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    let fifth = i32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    for i in 0..16 {
        let code = i32::from(block[6 + i]);
        out[i] = ((code & 15 | (fifth >> i & 1) << 4) - 16) as f32 * scale;
        out[i + 16] = ((code >> 4 | (fifth >> (i + 16) & 1) << 4) - 16) as f32 * scale;
    }
}

/// Scale, minimum, then as [`q5_0`].
#[inline(always)]
pub(super) fn q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (scale, min) = (half_at(block, 0), half_at(block, 2));
    let fifth = i32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    for i in 0..16 {
        let code = i32::from(block[8 + i]);
        out[i] = (code & 15 | (fifth >> i & 1) << 4) as f32 * scale + min;
        out[i + 16] = (code >> 4 | (fifth >> (i + 16) & 1) << 4) as f32 * scale + min;
    }
}

/// Scale, then a signed byte for each element.
#[inline(always)]
pub(super) fn q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    for (out, code) in out.iter_mut().zip(&block[2..]) {
        *out = f32::from(code.cast_signed()) * scale;
    }
}
