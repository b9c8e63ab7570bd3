//! Half-precision elements to f32, exactly.
//!
//! Written without branches, so that the compiler widens a vector at a time with whatever instructions the caller
//! was dispatched for.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched function is compiled without its instructions"
)]

/// Widens bf16.
#[inline(always)]
pub(super) fn bf16(codes: &[u8], out: &mut [f32]) {
    for (out, code) in out.iter_mut().zip(codes.as_chunks().0) {
        *out = f32::from_bits(u32::from(u16::from_le_bytes(*code)) << 16);
    }
}

/// Widens f16.
#[inline(always)]
pub(super) fn f16(codes: &[u8], out: &mut [f32]) {
    for (out, code) in out.iter_mut().zip(codes.as_chunks().0) {
        *out = f16_to_f32(u16::from_le_bytes(*code));
    }
}

/// One f16, subnormal numbers, infinities and NaN included.
#[inline(always)]
pub(super) fn f16_to_f32(code: u16) -> f32 {
    /// What the exponents of the two types are apart, in place.
    const REBIAS: u32 = (127 - 15) << 23;
    let code = u32::from(code);
    let (sign, rest) = ((code & 0x8000) << 16, (code & 0x7fff) << 13);
    let exponent = rest & 0x0f80_0000;
    // A subnormal number is its fraction above 2^-14 less 2^-14: exact, and no operand is subnormal.
    let tiny = f32::from_bits(rest + REBIAS + (1 << 23)) - f32::from_bits(REBIAS + (1 << 23));
    let special = rest + 2 * REBIAS;
    let bits = if exponent == 0 { tiny.to_bits() } else { rest + REBIAS };
    f32::from_bits(sign | if exponent == 0x0f80_0000 { special } else { bits })
}
