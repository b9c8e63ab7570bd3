//! The plain block types of GGUF files: 32 elements around one f16 scale.
//!
//! Each element is computed with the operations, and so the rounding, of the formats' reference implementation.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched function is compiled without its instructions"
)]

use super::float::f16_to_f32;
use crate::lanes::Eight;

/// The first of each eight elements of half a block.
const HALF: [usize; 2] = [0, 8];

/// The f16 at byte `at` of a block.
#[inline(always)]
pub(super) fn half_at(block: &[u8], at: usize) -> f32 {
    f16_to_f32(u16::from_le_bytes([block[at], block[at + 1]]))
}

/// Eight bytes from `at` on, widened.
#[inline(always)]
pub(super) fn eight_at<E: Eight>(e: E, block: &[u8], at: usize) -> E::Ints {
    e.bytes(*block[at..].first_chunk().expect("blocks are longer"))
}

/// Stores `code * scale` in eight elements from `at` on.
#[inline(always)]
pub(super) fn put_scaled<E: Eight>(e: E, code: E::Ints, scale: f32, (out, at): (&mut [f32], usize)) {
    let values = e.mul(e.convert(code), e.floats(scale));
    *out[at..].first_chunk_mut().expect("blocks are longer") = e.array(values);
}

/// Stores `code * scale + min` in eight elements from `at` on; two roundings, as the reference does.
#[inline(always)]
pub(super) fn put_above<E: Eight>(
    e: E,
    code: E::Ints,
    (scale, min): (f32, f32),
    (out, at): (&mut [f32], usize),
) {
    let values = e.add(e.mul(e.convert(code), e.floats(scale)), e.floats(min));
    *out[at..].first_chunk_mut().expect("blocks are longer") = e.array(values);
}

/// Scale, then 16 bytes: the low halves are the first 16 elements, the high ones the others.
#[inline(always)]
pub(super) fn q4_0<E: Eight>(e: E, block: &[u8; 18], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    for i in HALF {
        let code = eight_at(e, block, 2 + i);
        let (low, high) = (e.and(code, e.ints(15)), e.right::<4>(code));
        put_scaled(e, e.plus(low, e.ints(-8)), scale, (out, i));
        put_scaled(e, e.plus(high, e.ints(-8)), scale, (out, i + 16));
    }
}

/// Scale, minimum, then as [`q4_0`].
#[inline(always)]
pub(super) fn q4_1<E: Eight>(e: E, block: &[u8; 20], out: &mut [f32; 32]) {
    let scale_min = (half_at(block, 0), half_at(block, 2));
    for i in HALF {
        let code = eight_at(e, block, 4 + i);
        put_above(e, e.and(code, e.ints(15)), scale_min, (out, i));
        put_above(e, e.right::<4>(code), scale_min, (out, i + 16));
    }
}

/// Scale, then the fifth bit of each element, then as [`q4_0`].
#[inline(always)]
pub(super) fn q5_0<E: Eight>(e: E, block: &[u8; 22], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    let fifths = [block[2], block[3], block[4], block[5]];
    for (i, (low_fifth, high_fifth)) in HALF.into_iter().zip([(0, 2), (1, 3)]) {
        let code = eight_at(e, block, 6 + i);
        let low = e.or(e.and(code, e.ints(15)), fifth_bits(e, fifths[low_fifth]));
        let high = e.or(e.right::<4>(code), fifth_bits(e, fifths[high_fifth]));
        put_scaled(e, e.plus(low, e.ints(-16)), scale, (out, i));
        put_scaled(e, e.plus(high, e.ints(-16)), scale, (out, i + 16));
    }
}

/// Scale, minimum, then as [`q5_0`].
#[inline(always)]
pub(super) fn q5_1<E: Eight>(e: E, block: &[u8; 24], out: &mut [f32; 32]) {
    let scale_min = (half_at(block, 0), half_at(block, 2));
    let fifths = [block[4], block[5], block[6], block[7]];
    for (i, (low_fifth, high_fifth)) in HALF.into_iter().zip([(0, 2), (1, 3)]) {
        let code = eight_at(e, block, 8 + i);
        let low = e.or(e.and(code, e.ints(15)), fifth_bits(e, fifths[low_fifth]));
        let high = e.or(e.right::<4>(code), fifth_bits(e, fifths[high_fifth]));
        put_above(e, low, scale_min, (out, i));
        put_above(e, high, scale_min, (out, i + 16));
    }
}

/// The bits of a byte, each worth 16, one in a lane.
#[inline(always)]
fn fifth_bits<E: Eight>(e: E, byte: u8) -> E::Ints {
    let places = e.each([0, 1, 2, 3, 4, 5, 6, 7]);
    e.and(e.right_by(e.ints(i32::from(byte) << 4), places), e.ints(16))
}

/// Scale, then a signed byte for each element.
#[inline(always)]
pub(super) fn q8_0<E: Eight>(e: E, block: &[u8; 34], out: &mut [f32; 32]) {
    let scale = half_at(block, 0);
    for (i, codes) in block[2..].as_chunks::<8>().0.iter().enumerate() {
        put_scaled(e, e.signed_bytes(*codes), scale, (out, 8 * i));
    }
}
