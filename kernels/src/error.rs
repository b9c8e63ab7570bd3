//! What can go wrong in an op: a shape that does not fit, or the tensor library itself.

/// Why an op refused its arguments or failed.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// An argument's shape, type or stride differs from the op's table.
    #[error("{op}: {detail}")]
    Shape {
        /// The op that refused.
        op: &'static str,
        /// Which argument, what was expected, what came.
        detail: String,
    },
    /// The tensor library failed (allocation, device).
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

/// Returns [`KernelError::Shape`] unless `holds`; the detail is only rendered on failure.
pub(crate) fn ensure(holds: bool, op: &'static str, detail: impl Fn() -> String) -> Result<(), KernelError> {
    if holds { Ok(()) } else { Err(KernelError::Shape { op, detail: detail() }) }
}
