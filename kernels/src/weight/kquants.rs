//! The "K" block types of GGUF files: 256 elements in groups whose scales are themselves quantised.
//!
//! Each element is computed with the operations, and so the rounding, of the formats' reference implementation.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched function is compiled without its instructions"
)]

use super::ggml::half_at;

/// 16 bytes with a scale and a minimum of 4 bits for each 16 elements, 2 bits for each element, their two units.
#[inline(always)]
pub(super) fn q2_k(block: &[u8; 84], out: &mut [f32; 256]) {
    let (unit, min_unit) = (half_at(block, 80), half_at(block, 82));
    for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let packed = block[group];
        let (scale, min) = (unit * f32::from(packed & 15), min_unit * f32::from(packed >> 4));
        // A byte has elements that are 32 apart: 128 elements lie in 32 bytes.
        let (codes, shift) = (&block[16 + group / 8 * 32 + group % 2 * 16..][..16], group % 8 / 2 * 2);
        for (out, code) in out.iter_mut().zip(codes) {
            *out = scale * ((i32::from(*code) >> shift) & 3) as f32 - min;
        }
    }
}

/// 32 bytes with the third bit of each element, 2 bits for each, 12 bytes with 16 scales of 6 bits, their unit.
#[inline(always)]
pub(super) fn q3_k(block: &[u8; 110], out: &mut [f32; 256]) {
    let unit = half_at(block, 108);
    let packed = &block[96..108];
    for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let low = if group < 8 { packed[group] & 15 } else { packed[group - 8] >> 4 };
        let high = packed[8 + group % 4] >> (group / 4 * 2) & 3;
        let scale = unit * (i32::from(low | high << 4) - 32) as f32;
        let (codes, shift) = (&block[32 + group / 8 * 32 + group % 2 * 16..][..16], group % 8 / 2 * 2);
        let (thirds, bit) = (&block[group % 2 * 16..][..16], group / 2);
        for (out, (code, third)) in out.iter_mut().zip(codes.iter().zip(thirds)) {
            let code = (i32::from(*code) >> shift) & 3 | ((i32::from(*third) >> bit) & 1) << 2;
            *out = scale * (code - 4) as f32;
        }
    }
}

/// Two units, 12 bytes with 8 scales and 8 minima of 6 bits, 4 bits for each element.
#[inline(always)]
pub(super) fn q4_k(block: &[u8; 144], out: &mut [f32; 256]) {
    let (unit, min_unit) = (half_at(block, 0), half_at(block, 2));
    for (pair, out) in out.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        let (scale, min) = scale_min(&block[4..16], 2 * pair);
        let (scale, min) = (unit * scale, min_unit * min);
        let (scale_high, min_high) = scale_min(&block[4..16], 2 * pair + 1);
        let (scale_high, min_high) = (unit * scale_high, min_unit * min_high);
        for i in 0..32 {
            let code = i32::from(block[16 + pair * 32 + i]);
            out[i] = scale * (code & 15) as f32 - min;
            out[i + 32] = scale_high * (code >> 4) as f32 - min_high;
        }
    }
}

/// As [`q4_k`], with 32 bytes for the fifth bit of each element before the others.
#[inline(always)]
pub(super) fn q5_k(block: &[u8; 176], out: &mut [f32; 256]) {
    let (unit, min_unit) = (half_at(block, 0), half_at(block, 2));
    for (pair, out) in out.as_chunks_mut::<64>().0.iter_mut().enumerate() {
        let (scale, min) = scale_min(&block[4..16], 2 * pair);
        let (scale, min) = (unit * scale, min_unit * min);
        let (scale_high, min_high) = scale_min(&block[4..16], 2 * pair + 1);
        let (scale_high, min_high) = (unit * scale_high, min_unit * min_high);
        for i in 0..32 {
            let fifth = i32::from(block[16 + i]) >> (2 * pair);
            let code = i32::from(block[48 + pair * 32 + i]);
            out[i] = scale * (code & 15 | (fifth & 1) << 4) as f32 - min;
            out[i + 32] = scale_high * (code >> 4 | (fifth & 2) << 3) as f32 - min_high;
        }
    }
}

/// 4 bits for each element, 2 more for each, 16 signed scales, their unit.
#[inline(always)]
pub(super) fn q6_k(block: &[u8; 210], out: &mut [f32; 256]) {
    let unit = half_at(block, 208);
    for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        let scale = unit * f32::from(block[192 + group].cast_signed());
        // 128 elements: 64 bytes of low bits, the second 64 elements in the high halves; 32 bytes of high bits, 32
        // elements in each two bits.
        let (half, quarter, part) = (group / 8, group % 8 / 2, group % 2);
        let low = &block[half * 64 + quarter % 2 * 32 + part * 16..][..16];
        let high = &block[128 + half * 32 + part * 16..][..16];
        for (out, (low, high)) in out.iter_mut().zip(low.iter().zip(high)) {
            let low = (i32::from(*low) >> (quarter / 2 * 4)) & 15;
            let code = low | ((i32::from(*high) >> (quarter * 2)) & 3) << 4;
            *out = scale * (code - 32) as f32;
        }
    }
}

/// Scale and minimum of 32 elements, out of 8 pairs of 6 bits: the first four pairs lie open, the upper bits of the
/// other four lie above them.
#[inline(always)]
fn scale_min(packed: &[u8], group: usize) -> (f32, f32) {
    let (scale, min) = if group < 4 {
        (packed[group] & 63, packed[group + 4] & 63)
    } else {
        let (low, high) = (packed[group + 4], (packed[group - 4] >> 6, packed[group] >> 6));
        (low & 15 | high.0 << 4, low >> 4 | high.1 << 4)
    };
    (f32::from(scale), f32::from(min))
}
