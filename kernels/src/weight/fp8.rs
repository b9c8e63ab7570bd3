//! FP8 e4m3 ("fn": no infinities, one NaN) with f32 scales, as in `DeepSeek`'s checkpoints.
//!
//! An element is its code's value times its block's scale, rounded to f32 once. Scales are kept for each row, so
//! that matrices whose number of rows is no multiple of the checkpoint's block can stand one below the other.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched function is compiled without its instructions"
)]

/// Decodes the elements of a row from column `start` on; `scales` are those of the whole row.
#[inline(always)]
pub(super) fn decode(codes: &[u8], (scales, block): (&[u8], usize), start: usize, out: &mut [f32]) {
    let mut done = 0;
    while done < out.len() {
        let column = start + done;
        let end = ((column / block + 1) * block - start).min(out.len());
        let bytes = scales[column / block * 4..].first_chunk().expect("each block has a scale");
        let scale = f32::from_le_bytes(*bytes);
        for (out, code) in out[done..end].iter_mut().zip(&codes[done..end]) {
            *out = e4m3(*code) * scale;
        }
        done = end;
    }
}

/// The value of a code: 4 bits of exponent (bias 7), 3 of fraction; both codes with all those bits set are NaN.
#[inline(always)]
pub(super) fn e4m3(code: u8) -> f32 {
    /// What the exponents of the two types are apart, in place.
    const REBIAS: u32 = (127 - 7) << 23;
    let code = u32::from(code);
    let (sign, rest) = ((code & 0x80) << 24, (code & 0x7f) << 20);
    // A subnormal number is its fraction above 2^-6 less 2^-6: exact, and no operand is subnormal.
    let tiny = f32::from_bits(rest + REBIAS + (1 << 23)) - f32::from_bits(REBIAS + (1 << 23));
    let bits = if rest < 1 << 23 { tiny.to_bits() } else { rest + REBIAS };
    f32::from_bits(sign | if rest == 0x7f << 20 { f32::NAN.to_bits() } else { bits })
}
