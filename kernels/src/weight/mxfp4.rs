//! MXFP4: FP4 e2m1 in blocks of 32 that share a power of two, as in gpt-oss' checkpoints.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched function is compiled without its instructions"
)]

/// Decodes whole blocks: 16 bytes and one scale for 32 elements.
#[inline(always)]
pub(super) fn decode(codes: &[u8], scales: &[u8], out: &mut [f32]) {
    let blocks = codes.as_chunks::<16>().0.iter().zip(scales);
    for (out, (codes, scale)) in out.as_chunks_mut::<32>().0.iter_mut().zip(blocks) {
        let scale = ue8m0(*scale);
        for (out, code) in out.as_chunks_mut::<2>().0.iter_mut().zip(codes) {
            *out = [e2m1(code & 15) * scale, e2m1(code >> 4) * scale];
        }
    }
}

/// The value of a code: 0, 0.5, 1, 1.5, 2, 3, 4 or 6, and its sign.
#[inline(always)]
pub(super) fn e2m1(code: u8) -> f32 {
    let code = u32::from(code);
    let rest = code & 7;
    // 0.5 is the one subnormal number; what is above it has its exponent moved to where f32 has it.
    let bits = if rest < 2 { rest * 0.5f32.to_bits() } else { (rest << 22) + (126 << 23) };
    f32::from_bits((code & 8) << 28 | bits)
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
