//! The "K" block types of GGUF files: 256 elements in groups whose scales are themselves quantised.
//!
//! Each element is computed with the operations, and so the rounding, of the formats' reference implementation.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched function is compiled without its instructions"
)]

use super::ggml::{eight_at, half_at, put_above, put_scaled};
use crate::lanes::Eight;

/// The first of each eight elements of 32.
const EIGHTS: [usize; 4] = [0, 8, 16, 24];

/// 16 bytes with a scale and a minimum of 4 bits for each 16 elements, 2 bits for each element, their two units.
#[inline(always)]
pub(super) fn q2_k<E: Eight>(e: E, block: &[u8; 84], out: &mut [f32; 256]) {
    let (unit, min_unit) = (half_at(block, 80), half_at(block, 82));
    for half in 0..2 {
        for i in EIGHTS {
            // A byte has elements that are 32 apart: 128 elements lie in 32 bytes.
            let mut code = eight_at(e, block, 16 + half * 32 + i);
            for quarter in 0..4 {
                let packed = block[half * 8 + quarter * 2 + i / 16];
                let scale_min = (unit * f32::from(packed & 15), -(min_unit * f32::from(packed >> 4)));
                put_above(e, e.and(code, e.ints(3)), scale_min, (out, half * 128 + quarter * 32 + i));
                code = e.right::<2>(code);
            }
        }
    }
}

/// 32 bytes with the third bit of each element, 2 bits for each, 12 bytes with 16 scales of 6 bits, their unit.
#[inline(always)]
pub(super) fn q3_k<E: Eight>(e: E, block: &[u8; 110], out: &mut [f32; 256]) {
    let (packed, unit) = (&block[96..108], half_at(block, 108));
    let scales: [f32; 16] = std::array::from_fn(|group| {
        let low = if group < 8 { packed[group] & 15 } else { packed[group - 8] >> 4 };
        let high = packed[8 + group % 4] >> (group / 4 * 2) & 3;
        unit * (i32::from(low | high << 4) - 32) as f32
    });
    for i in EIGHTS {
        // One bit for each 32 elements; moved to where the third bit of a code is.
        let mut thirds = e.left::<2>(eight_at(e, block, i));
        for half in 0..2 {
            let mut code = eight_at(e, block, 32 + half * 32 + i);
            for quarter in 0..4 {
                let whole = e.or(e.and(code, e.ints(3)), e.and(thirds, e.ints(4)));
                let scale = scales[half * 8 + quarter * 2 + i / 16];
                let at = half * 128 + quarter * 32 + i;
                put_scaled(e, e.plus(whole, e.ints(-4)), scale, (out, at));
                (code, thirds) = (e.right::<2>(code), e.right::<1>(thirds));
            }
        }
    }
}

/// Two units, 12 bytes with 8 scales and 8 minima of 6 bits, 4 bits for each element.
#[inline(always)]
pub(super) fn q4_k<E: Eight>(e: E, block: &[u8; 144], out: &mut [f32; 256]) {
    for pair in 0..4 {
        let (low, high) = (scale_min(block, 2 * pair), scale_min(block, 2 * pair + 1));
        for i in EIGHTS {
            let code = eight_at(e, block, 16 + pair * 32 + i);
            put_above(e, e.and(code, e.ints(15)), low, (out, pair * 64 + i));
            put_above(e, e.right::<4>(code), high, (out, pair * 64 + 32 + i));
        }
    }
}

/// As [`q4_k`], with 32 bytes for the fifth bit of each element before the others.
#[inline(always)]
pub(super) fn q5_k<E: Eight>(e: E, block: &[u8; 176], out: &mut [f32; 256]) {
    let scales: [(f32, f32); 8] = std::array::from_fn(|group| scale_min(block, group));
    for i in EIGHTS {
        // One bit for each 32 elements; moved to where the fifth bit of a code is.
        let mut fifths = e.left::<4>(eight_at(e, block, 16 + i));
        for (pair, scales) in scales.as_chunks::<2>().0.iter().enumerate() {
            let code = eight_at(e, block, 48 + pair * 32 + i);
            let low = e.or(e.and(code, e.ints(15)), e.and(fifths, e.ints(16)));
            fifths = e.right::<1>(fifths);
            let high = e.or(e.right::<4>(code), e.and(fifths, e.ints(16)));
            fifths = e.right::<1>(fifths);
            put_above(e, low, scales[0], (out, pair * 64 + i));
            put_above(e, high, scales[1], (out, pair * 64 + 32 + i));
        }
    }
}

/// 4 bits for each element, 2 more for each, 16 signed scales, their unit.
#[inline(always)]
pub(super) fn q6_k<E: Eight>(e: E, block: &[u8; 210], out: &mut [f32; 256]) {
    let unit = half_at(block, 208);
    for half in 0..2 {
        for i in EIGHTS {
            // 128 elements: 64 bytes of low bits, the second 64 elements in the high halves; 32 bytes of high bits,
            // 32 elements in each two bits.
            let low = eight_at(e, block, half * 64 + i);
            let next = eight_at(e, block, half * 64 + 32 + i);
            let low = [low, next, e.right::<4>(low), e.right::<4>(next)];
            let mut high = e.left::<4>(eight_at(e, block, 128 + half * 32 + i));
            for (quarter, low) in low.into_iter().enumerate() {
                let code = e.or(e.and(low, e.ints(15)), e.and(high, e.ints(48)));
                let scale = unit * f32::from(block[192 + half * 8 + quarter * 2 + i / 16].cast_signed());
                let at = half * 128 + quarter * 32 + i;
                put_scaled(e, e.plus(code, e.ints(-32)), scale, (out, at));
                high = e.right::<2>(high);
            }
        }
    }
}

/// Scale and negated minimum of 32 elements of a block that begins with two units and 8 pairs of 6 bits: the first
/// four pairs lie open, the upper bits of the other four lie above them.
#[inline(always)]
fn scale_min(block: &[u8], group: usize) -> (f32, f32) {
    let (unit, min_unit, packed) = (half_at(block, 0), half_at(block, 2), &block[4..16]);
    let (scale, min) = if group < 4 {
        (packed[group] & 63, packed[group + 4] & 63)
    } else {
        let (low, high) = (packed[group + 4], (packed[group - 4] >> 6, packed[group] >> 6));
        (low & 15 | high.0 << 4, low >> 4 | high.1 << 4)
    };
    (unit * f32::from(scale), -(min_unit * f32::from(min)))
}
