//! The types in which a weight may be stored: their names, their sizes, and what their rows must be a multiple of.

use crate::KernelError;
use crate::error::ensure;

/// How the elements of one row are stored.
///
/// The names of the block types are those of GGUF files: `Q4_K` is [`Format::Q4K`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// IEEE single precision; read without conversion.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// FP8 e4m3 without infinities; each `block` elements of a row share an f32 scale, the last ones of a row may be
    /// fewer. One scale for the whole matrix, or for each row, is a `block` of the row's width.
    Fp8 {
        /// Elements of a row that share a scale.
        block: usize,
    },
    /// FP4 e2m1, 32 elements sharing a power of two (UE8M0); the low half of a byte is the even element.
    Mxfp4,
    /// 32 elements of 4 bits, symmetric.
    Q4_0,
    /// 32 elements of 4 bits and a minimum.
    Q4_1,
    /// 32 elements of 5 bits, symmetric.
    Q5_0,
    /// 32 elements of 5 bits and a minimum.
    Q5_1,
    /// 32 elements of 8 bits, symmetric.
    Q8_0,
    /// 256 elements of 2 bits; 16 elements share a 4-bit scale and minimum.
    Q2K,
    /// 256 elements of 3 bits; 16 elements share a 6-bit scale.
    Q3K,
    /// 256 elements of 4 bits; 32 elements share a 6-bit scale and minimum.
    Q4K,
    /// 256 elements of 5 bits; 32 elements share a 6-bit scale and minimum.
    Q5K,
    /// 256 elements of 6 bits; 16 elements share an 8-bit scale.
    Q6K,
}

impl Format {
    /// The format's usual name, as in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Fp8 { .. } => "fp8-e4m3",
            Self::Mxfp4 => "mxfp4",
            Self::Q4_0 => "q4_0",
            Self::Q4_1 => "q4_1",
            Self::Q5_0 => "q5_0",
            Self::Q5_1 => "q5_1",
            Self::Q8_0 => "q8_0",
            Self::Q2K => "q2_k",
            Self::Q3K => "q3_k",
            Self::Q4K => "q4_k",
            Self::Q5K => "q5_k",
            Self::Q6K => "q6_k",
        }
    }

    /// The format of a GGUF file's tensor type, if it is one that is read here.
    ///
    /// Type 39, MXFP4, orders the halves of its bytes otherwise than [`Format::Mxfp4`]: fill such rows with
    /// [`RowsMut::mxfp4_of_ggml`](crate::RowsMut::mxfp4_of_ggml).
    pub fn of_ggml(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            10 => Self::Q2K,
            11 => Self::Q3K,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            30 => Self::Bf16,
            39 => Self::Mxfp4,
            _ => return None,
        })
    }

    /// Elements that are stored together and the bytes they take, scales kept elsewhere not counted.
    pub(super) const fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Fp8 { .. } => (1, 1),
            Self::Mxfp4 => (32, 16),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q2K => (256, 84),
            Self::Q3K => (256, 110),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
        }
    }

    /// Bytes of one row's elements.
    pub(super) const fn code_bytes(self, width: usize) -> usize {
        let (elements, bytes) = self.block();
        width / elements * bytes
    }

    /// Bytes of one row's scales, where they are kept apart from the elements.
    pub(super) const fn scale_bytes(self, width: usize) -> usize {
        match self {
            Self::Fp8 { block } => width.div_ceil(block) * size_of::<f32>(),
            Self::Mxfp4 => width / 32,
            _ => 0,
        }
    }

    /// Bytes that one row of `width` elements takes in memory, scales included.
    pub fn row_bytes(self, width: usize) -> usize {
        self.code_bytes(width) + self.scale_bytes(width)
    }

    /// Refuses a width that the format cannot store.
    ///
    /// # Errors
    /// Returns [`KernelError`] that names the format and its block.
    pub fn check(self, width: usize) -> Result<(), KernelError> {
        let elements = if let Self::Fp8 { block: 0 } = self { 0 } else { self.block().0 };
        ensure(elements > 0 && width > 0 && width.is_multiple_of(elements), "weight", || {
            format!("{} stores {elements} elements together, a row has {width}", self.name())
        })
    }
}
