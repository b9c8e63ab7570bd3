//! f32 to the block types of GGUF files, by candle-core's implementation of them.

use std::borrow::Cow;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use super::{Format, OP};
use crate::KernelError;

/// Values that are quantised at a time: candle-core copies what it is given, and that copy stays small.
const VALUES_AT_A_TIME: usize = 1 << 16;

/// Quantises rows of `width` values into `codes`.
pub(super) fn quantise(
    format: Format,
    values: &[f32],
    width: usize,
    codes: &mut [u8],
) -> Result<(), KernelError> {
    let Some(dtype) = dtype(format) else {
        let detail = format!("{} is read but not made from f32", format.name());
        return Err(KernelError::Shape { op: OP, detail });
    };
    let rows = (VALUES_AT_A_TIME / width).max(1);
    let parts = codes.chunks_mut(rows * format.code_bytes(width));
    for (codes, values) in parts.zip(values.chunks(rows * width)) {
        let values = Tensor::from_slice(values, (values.len() / width, width), &Device::Cpu)?;
        let blocks = QTensor::quantize(&values, dtype)?;
        let bytes: Cow<'_, [u8]> = blocks.data()?;
        codes.copy_from_slice(&bytes);
    }
    Ok(())
}

/// candle-core's name of a block type.
pub(super) fn dtype(format: Format) -> Option<GgmlDType> {
    Some(match format {
        Format::Q4_0 => GgmlDType::Q4_0,
        Format::Q4_1 => GgmlDType::Q4_1,
        Format::Q5_0 => GgmlDType::Q5_0,
        Format::Q5_1 => GgmlDType::Q5_1,
        Format::Q8_0 => GgmlDType::Q8_0,
        Format::Q2K => GgmlDType::Q2K,
        Format::Q3K => GgmlDType::Q3K,
        Format::Q4K => GgmlDType::Q4K,
        Format::Q5K => GgmlDType::Q5K,
        Format::Q6K => GgmlDType::Q6K,
        Format::F32 | Format::F16 | Format::Bf16 | Format::Fp8 { .. } | Format::Mxfp4 => return None,
    })
}
