//! Half-precision elements to f32, exactly.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched function is compiled without its instructions"
)]

use crate::lanes::Eight;

/// What the exponents of f16 and f32 are apart, in place.
const REBIAS: i32 = (127 - 15) << 23;

/// Widens bf16.
#[inline(always)]
pub(super) fn bf16<E: Eight>(e: E, codes: &[u8], out: &mut [f32]) {
    let ((whole, rest), (codes, codes_rest)) = (out.as_chunks_mut::<8>(), codes.as_chunks::<16>());
    for (out, codes) in whole.iter_mut().zip(codes) {
        *out = bf16_eight(e, *codes);
    }
    if !rest.is_empty() {
        rest.copy_from_slice(&bf16_eight(e, padded(codes_rest))[..rest.len()]);
    }
}

#[inline(always)]
fn bf16_eight<E: Eight>(e: E, codes: [u8; 16]) -> [f32; 8] {
    e.array(e.of_bits(e.left::<16>(e.words(codes))))
}

/// Widens f16, subnormal numbers, infinities and NaN included.
#[inline(always)]
pub(super) fn f16<E: Eight>(e: E, codes: &[u8], out: &mut [f32]) {
    let ((whole, rest), (codes, codes_rest)) = (out.as_chunks_mut::<8>(), codes.as_chunks::<16>());
    for (out, codes) in whole.iter_mut().zip(codes) {
        *out = f16_eight(e, *codes);
    }
    if !rest.is_empty() {
        rest.copy_from_slice(&f16_eight(e, padded(codes_rest))[..rest.len()]);
    }
}

#[inline(always)]
fn f16_eight<E: Eight>(e: E, codes: [u8; 16]) -> [f32; 8] {
    let code = e.words(codes);
    let sign = e.left::<16>(e.and(code, e.ints(0x8000)));
    let rest = e.left::<13>(e.and(code, e.ints(0x7fff)));
    let normal = e.plus(rest, e.ints(REBIAS));
    // A subnormal number is its fraction above 2^-14 less 2^-14: exact, and no operand is subnormal.
    let above = e.of_bits(e.plus(normal, e.ints(1 << 23)));
    let tiny = e.to_bits(e.sub(above, e.of_bits(e.ints(REBIAS + (1 << 23)))));
    let bits = e.if_less(rest, e.ints(1 << 23), tiny, normal);
    let special = e.if_less(rest, e.ints(31 << 23), e.ints(0), e.ints(REBIAS));
    e.array(e.of_bits(e.or(sign, e.plus(bits, special))))
}

/// One f16: the scale of a block.
#[inline(always)]
pub(super) fn f16_to_f32(code: u16) -> f32 {
    let code = i32::from(code);
    let (sign, rest) = ((code & 0x8000) << 16, (code & 0x7fff) << 13);
    let bits = if rest < 1 << 23 {
        let bias = REBIAS + (1 << 23);
        let tiny = f32::from_bits((rest + bias).cast_unsigned()) - f32::from_bits(bias.cast_unsigned());
        tiny.to_bits().cast_signed()
    } else if rest < 31 << 23 {
        rest + REBIAS
    } else {
        rest + 2 * REBIAS
    };
    f32::from_bits((sign | bits).cast_unsigned())
}

/// The codes of fewer than eight elements, and zeros.
#[inline(always)]
pub(super) fn padded<const N: usize>(codes: &[u8]) -> [u8; N] {
    let mut padded = [0; N];
    padded[..codes.len()].copy_from_slice(codes);
    padded
}
