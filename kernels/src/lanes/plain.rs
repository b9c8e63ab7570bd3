//! Eight lanes without any instruction that is not everywhere.

#![expect(
    clippy::inline_always,
    reason = "what is not inlined into the dispatched function is compiled without its instructions"
)]

use std::array::from_fn;

use super::Eight;

/// Arrays; the compiler may make vectors of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plain;

impl Eight for Plain {
    type Ints = [i32; 8];
    type Floats = [f32; 8];

    #[inline(always)]
    fn bytes(self, bytes: [u8; 8]) -> [i32; 8] {
        bytes.map(i32::from)
    }

    #[inline(always)]
    fn signed_bytes(self, bytes: [u8; 8]) -> [i32; 8] {
        bytes.map(|byte| i32::from(byte.cast_signed()))
    }

    #[inline(always)]
    fn words(self, words: [u8; 16]) -> [i32; 8] {
        from_fn(|i| i32::from(u16::from_le_bytes([words[2 * i], words[2 * i + 1]])))
    }

    #[inline(always)]
    fn ints(self, value: i32) -> [i32; 8] {
        [value; 8]
    }

    #[inline(always)]
    fn each(self, values: [i32; 8]) -> [i32; 8] {
        values
    }

    #[inline(always)]
    fn and(self, a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        from_fn(|i| a[i] & b[i])
    }

    #[inline(always)]
    fn or(self, a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        from_fn(|i| a[i] | b[i])
    }

    #[inline(always)]
    fn plus(self, a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        from_fn(|i| a[i].wrapping_add(b[i]))
    }

    #[inline(always)]
    fn left<const N: i32>(self, a: [i32; 8]) -> [i32; 8] {
        a.map(|a| a << N)
    }

    #[inline(always)]
    fn right<const N: i32>(self, a: [i32; 8]) -> [i32; 8] {
        a.map(|a| (a.cast_unsigned() >> N).cast_signed())
    }

    #[inline(always)]
    fn right_by(self, a: [i32; 8], by: [i32; 8]) -> [i32; 8] {
        from_fn(|i| (a[i].cast_unsigned() >> by[i]).cast_signed())
    }

    #[inline(always)]
    fn if_less(self, x: [i32; 8], y: [i32; 8], a: [i32; 8], b: [i32; 8]) -> [i32; 8] {
        from_fn(|i| if x[i] < y[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn look_up(self, table: [f32; 8], index: [i32; 8]) -> [f32; 8] {
        index.map(|index| table[(index & 7) as usize])
    }

    #[inline(always)]
    fn convert(self, a: [i32; 8]) -> [f32; 8] {
        a.map(|a| a as f32)
    }

    #[inline(always)]
    fn of_bits(self, a: [i32; 8]) -> [f32; 8] {
        a.map(|a| f32::from_bits(a.cast_unsigned()))
    }

    #[inline(always)]
    fn to_bits(self, a: [f32; 8]) -> [i32; 8] {
        a.map(|a| a.to_bits().cast_signed())
    }

    #[inline(always)]
    fn floats(self, value: f32) -> [f32; 8] {
        [value; 8]
    }

    #[inline(always)]
    fn add(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn mul(self, a: [f32; 8], b: [f32; 8]) -> [f32; 8] {
        from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn array(self, a: [f32; 8]) -> [f32; 8] {
        a
    }
}
