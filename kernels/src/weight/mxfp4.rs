//! MXFP4: FP4 e2m1 in blocks of 32 that share a power of two, as in gpt-oss' checkpoints.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched function is compiled without its instructions"
)]

use crate::lanes::Eight;

/// The sizes of the eight codes without a sign.
const SIZES: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

/// Decodes whole blocks: 16 bytes and one scale for 32 elements.
#[inline(always)]
pub(super) fn decode<E: Eight>(e: E, codes: &[u8], scales: &[u8], out: &mut [f32]) {
    let places = e.each([0, 4, 8, 12, 16, 20, 24, 28]);
    let blocks = codes.as_chunks::<16>().0.iter().zip(scales);
    for (out, (codes, scale)) in out.as_chunks_mut::<32>().0.iter_mut().zip(blocks) {
        let scale = e.floats(ue8m0(*scale));
        for (out, codes) in out.as_chunks_mut::<8>().0.iter_mut().zip(codes.as_chunks::<4>().0) {
            // Eight elements are four bytes: each lane shifts its own down.
            let code = e.right_by(e.ints(i32::from_le_bytes(*codes)), places);
            let sign = e.left::<28>(e.and(code, e.ints(8)));
            let size = e.to_bits(e.look_up(SIZES, code));
            *out = e.array(e.mul(e.of_bits(e.or(sign, size)), scale));
        }
    }
}

/// The value of a scale: two to the power of `scale - 127`; 255 is NaN.
#[inline(always)]
pub(super) fn ue8m0(scale: u8) -> f32 {
    match scale {
        // The one power that an f32 holds as a subnormal number.
        0 => f32::from_bits(1 << 22),
        255 => f32::NAN,
        _ => f32::from_bits(u32::from(scale) << 23),
    }
}

/// Turns a block of a GGUF file, one scale and then 16 bytes whose low halves are the first 16 elements, into the
/// order kept here. Returns the scale.
pub(super) fn from_ggml(block: &[u8; 17], codes: &mut [u8; 16]) -> u8 {
    let element = |i: usize| if i < 16 { block[1 + i] & 15 } else { block[1 + i - 16] >> 4 };
    for (i, code) in codes.iter_mut().enumerate() {
        *code = element(2 * i) | element(2 * i + 1) << 4;
    }
    block[0]
}
