//! Eight lanes of whatever instructions the machine has: what weights are decoded with.
//!
//! `pulp` chooses the instructions and has the arithmetic on f32 vectors of any length. Decoding also widens bytes,
//! shifts and looks up, which `pulp` offers for named instruction sets only. [`Eight`] names those few operations,
//! and [`dispatch`] runs code with both. Every implementation of an operation gives the same bits.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched function is compiled without its instructions"
)]

#[cfg(not(target_arch = "x86_64"))]
mod other;
mod plain;
#[cfg(target_arch = "x86_64")]
mod x86;

use pulp::{Simd, WithSimd};

#[cfg(not(target_arch = "x86_64"))]
pub(crate) use self::other::dispatch;
pub(crate) use self::plain::Plain;
#[cfg(target_arch = "x86_64")]
pub(crate) use self::x86::dispatch;

/// Code that runs on the instructions that were found.
pub(crate) trait Kernel {
    /// Runs; must be inlined, as must whatever it calls.
    fn run<S: Simd, E: Eight>(self, simd: S, eight: E);
}

/// Operations on eight lanes.
pub(crate) trait Eight: Copy + Send + Sync {
    /// Eight i32.
    type Ints: Copy;
    /// Eight f32.
    type Floats: Copy;

    /// Widens unsigned bytes.
    fn bytes(self, bytes: [u8; 8]) -> Self::Ints;
    /// Widens signed bytes.
    fn signed_bytes(self, bytes: [u8; 8]) -> Self::Ints;
    /// Widens unsigned words, low byte first.
    fn words(self, words: [u8; 16]) -> Self::Ints;
    /// The same number in each lane.
    fn ints(self, value: i32) -> Self::Ints;
    /// A number for each lane.
    fn each(self, values: [i32; 8]) -> Self::Ints;
    fn and(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    fn or(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    fn plus(self, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// Shifts left by `N` bits.
    fn left<const N: i32>(self, a: Self::Ints) -> Self::Ints;
    /// Shifts right by `N` bits, filling with zeros.
    fn right<const N: i32>(self, a: Self::Ints) -> Self::Ints;
    /// Shifts right by as many bits as each lane of `by` says, at most 31.
    fn right_by(self, a: Self::Ints, by: Self::Ints) -> Self::Ints;
    /// `a` in lanes where `x < y`, `b` elsewhere.
    fn if_less(self, x: Self::Ints, y: Self::Ints, a: Self::Ints, b: Self::Ints) -> Self::Ints;
    /// The entry that the three lowest bits of each lane name.
    fn look_up(self, table: [f32; 8], index: Self::Ints) -> Self::Floats;
    /// The nearest f32.
    fn convert(self, a: Self::Ints) -> Self::Floats;
    /// The f32 with these bits.
    fn of_bits(self, a: Self::Ints) -> Self::Floats;
    /// The bits of an f32.
    fn to_bits(self, a: Self::Floats) -> Self::Ints;
    /// The same number in each lane.
    fn floats(self, value: f32) -> Self::Floats;
    fn add(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn sub(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    fn mul(self, a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// The lanes in order.
    fn array(self, a: Self::Floats) -> [f32; 8];
}

/// A [`Kernel`] with its eight lanes, as `pulp` dispatches it.
struct With<K, E>(K, E);

impl<K: Kernel, E: Eight> WithSimd for With<K, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        self.0.run(simd, self.1);
    }
}
