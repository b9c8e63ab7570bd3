//! Eight lanes of AVX2, and the choice of it.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched function is compiled without its instructions"
)]

use std::arch::x86_64::{__m256, __m256i};

use pulp::x86::{Arch, V3};
use pulp::{Simd, bytemuck};

use super::{Eight, Kernel, Plain, With};

/// Runs `kernel` on the widest instructions of this machine.
pub(crate) fn dispatch(kernel: impl Kernel) {
    match Arch::new() {
        Arch::V3(v3) => Simd::vectorize(v3, With(kernel, Avx2(v3))),
        Arch::V4(v4) => Simd::vectorize(v4, With(kernel, Avx2(*v4))),
        other => other.dispatch(With(kernel, Plain)),
    }
}

/// The proof that the machine has AVX2.
#[derive(Clone, Copy, Debug)]
struct Avx2(V3);

impl Eight for Avx2 {
    type Ints = __m256i;
    type Floats = __m256;

    #[inline(always)]
    fn bytes(self, bytes: [u8; 8]) -> __m256i {
        self.0.avx2._mm256_cvtepu8_epi32(self.0.sse2._mm_set_epi64x(0, i64::from_le_bytes(bytes)))
    }

    #[inline(always)]
    fn signed_bytes(self, bytes: [u8; 8]) -> __m256i {
        self.0.avx2._mm256_cvtepi8_epi32(self.0.sse2._mm_set_epi64x(0, i64::from_le_bytes(bytes)))
    }

    #[inline(always)]
    fn words(self, words: [u8; 16]) -> __m256i {
        self.0.avx2._mm256_cvtepu16_epi32(bytemuck::cast(words))
    }

    #[inline(always)]
    fn ints(self, value: i32) -> __m256i {
        self.0.avx._mm256_set1_epi32(value)
    }

    #[inline(always)]
    fn each(self, values: [i32; 8]) -> __m256i {
        bytemuck::cast(values)
    }

    #[inline(always)]
    fn and(self, a: __m256i, b: __m256i) -> __m256i {
        self.0.avx2._mm256_and_si256(a, b)
    }

    #[inline(always)]
    fn or(self, a: __m256i, b: __m256i) -> __m256i {
        self.0.avx2._mm256_or_si256(a, b)
    }

    #[inline(always)]
    fn plus(self, a: __m256i, b: __m256i) -> __m256i {
        self.0.avx2._mm256_add_epi32(a, b)
    }

    #[inline(always)]
    fn left<const N: i32>(self, a: __m256i) -> __m256i {
        self.0.avx2._mm256_slli_epi32::<N>(a)
    }

    #[inline(always)]
    fn right<const N: i32>(self, a: __m256i) -> __m256i {
        self.0.avx2._mm256_srli_epi32::<N>(a)
    }

    #[inline(always)]
    fn right_by(self, a: __m256i, by: __m256i) -> __m256i {
        self.0.avx2._mm256_srlv_epi32(a, by)
    }

    #[inline(always)]
    fn if_less(self, x: __m256i, y: __m256i, a: __m256i, b: __m256i) -> __m256i {
        self.0.avx2._mm256_blendv_epi8(b, a, self.0.avx2._mm256_cmpgt_epi32(y, x))
    }

    #[inline(always)]
    fn look_up(self, table: [f32; 8], index: __m256i) -> __m256 {
        self.0.avx2._mm256_permutevar8x32_ps(bytemuck::cast(table), index)
    }

    #[inline(always)]
    fn convert(self, a: __m256i) -> __m256 {
        self.0.avx._mm256_cvtepi32_ps(a)
    }

    #[inline(always)]
    fn of_bits(self, a: __m256i) -> __m256 {
        self.0.avx._mm256_castsi256_ps(a)
    }

    #[inline(always)]
    fn to_bits(self, a: __m256) -> __m256i {
        self.0.avx._mm256_castps_si256(a)
    }

    #[inline(always)]
    fn floats(self, value: f32) -> __m256 {
        self.0.avx._mm256_set1_ps(value)
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        self.0.avx._mm256_add_ps(a, b)
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        self.0.avx._mm256_sub_ps(a, b)
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        self.0.avx._mm256_mul_ps(a, b)
    }

    #[inline(always)]
    fn array(self, a: __m256) -> [f32; 8] {
        bytemuck::cast(a)
    }
}
