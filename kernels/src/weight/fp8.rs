//! FP8 e4m3 ("fn": no infinities, one NaN) with f32 scales, as in `DeepSeek`'s checkpoints.
//!
//! An element is its code's value times its block's scale, rounded to f32 once. Scales are kept for each row, so
//! that matrices whose number of rows is no multiple of the checkpoint's block can stand one below the other.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched function is compiled without its instructions"
)]

use super::float::padded;
use crate::lanes::Eight;

/// What the exponents of the two types are apart, in place.
const REBIAS: i32 = (127 - 7) << 23;

/// Decodes the elements of a row from column `start` on; `scales` are those of the whole row.
#[inline(always)]
pub(super) fn decode<E: Eight>(
    e: E,
    codes: &[u8],
    (scales, block): (&[u8], usize),
    start: usize,
    out: &mut [f32],
) {
    let mut done = 0;
    while done < out.len() {
        let block_index = (start + done) / block;
        // A block as wide as the row may be given as the largest number there is.
        let end = (block_index + 1).saturating_mul(block).saturating_sub(start).min(out.len());
        let bytes = scales[block_index * 4..].first_chunk().expect("each block has a scale");
        let scale = e.floats(f32::from_le_bytes(*bytes));
        let (whole, rest) = out[done..end].as_chunks_mut::<8>();
        let (eights, codes_rest) = codes[done..end].as_chunks::<8>();
        for (out, codes) in whole.iter_mut().zip(eights) {
            *out = e.array(e.mul(e4m3(e, *codes), scale));
        }
        if !rest.is_empty() {
            let values = e.array(e.mul(e4m3(e, padded(codes_rest)), scale));
            rest.copy_from_slice(&values[..rest.len()]);
        }
        done = end;
    }
}

/// The values of codes: 4 bits of exponent (bias 7), 3 of fraction; both codes with all those bits set are NaN.
#[inline(always)]
pub(super) fn e4m3<E: Eight>(e: E, codes: [u8; 8]) -> E::Floats {
    let code = e.bytes(codes);
    let sign = e.left::<24>(e.and(code, e.ints(0x80)));
    let rest = e.left::<20>(e.and(code, e.ints(0x7f)));
    let normal = e.plus(rest, e.ints(REBIAS));
    // A subnormal number is its fraction above 2^-6 less 2^-6: exact, and no operand is subnormal.
    let above = e.of_bits(e.plus(normal, e.ints(1 << 23)));
    let tiny = e.to_bits(e.sub(above, e.of_bits(e.ints(REBIAS + (1 << 23)))));
    let bits = e.if_less(rest, e.ints(1 << 23), tiny, normal);
    let bits = e.if_less(rest, e.ints(0x7f << 20), bits, e.ints(f32::NAN.to_bits().cast_signed()));
    e.of_bits(e.or(sign, bits))
}
