//! The weights of a matrix product, in the type in which they are kept.

use candle_core::Tensor;

use crate::KernelError;
use crate::error::ensure;
use crate::view::HostView;

const OP: &str = "weight";

/// A matrix `[O, C]`, or a stack of them `[E, O, C]`, stored row by row. Clones share their storage.
#[derive(Clone, Debug)]
pub struct Weight {
    dense: Tensor,
}

impl Weight {
    /// A weight kept as it is.
    ///
    /// | argument | shape | type |
    /// |---|---|---|
    /// | `dense` | `[O, C]` or `[E, O, C]` | f32, contiguous |
    ///
    /// # Errors
    /// Returns [`KernelError`] if shape or type differ.
    pub fn dense(dense: Tensor) -> Result<Self, KernelError> {
        ensure(matches!(dense.dims().len(), 2 | 3), OP, || format!("shape {:?} is no matrix", dense.dims()))?;
        HostView::new(OP, &dense)?.f32(OP)?;
        Ok(Self { dense })
    }

    /// `[O, C]` or `[E, O, C]`.
    pub fn dims(&self) -> &[usize] {
        self.dense.dims()
    }

    pub(crate) fn tensor(&self) -> &Tensor {
        &self.dense
    }
}
