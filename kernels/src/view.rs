//! Borrowed host views of tensors, so that an op reads plain slices.
//!
//! A view keeps the tensor's storage locked for reading while it lives. Only contiguous tensors have one:
//! a stride that an op would have to honour is a shape error at its door, not a slow path inside.

use candle_core::{CpuStorage, Storage, StorageRef, Tensor};

use crate::KernelError;
use crate::error::ensure;

/// A read lock on a contiguous CPU tensor.
pub(crate) struct HostView<'a> {
    storage: StorageRef<'a>,
    start: usize,
    len: usize,
}

impl<'a> HostView<'a> {
    /// Locks `tensor` for reading.
    pub(crate) fn new(op: &'static str, tensor: &'a Tensor) -> Result<Self, KernelError> {
        let (storage, layout) = tensor.storage_and_layout();
        ensure(layout.is_contiguous(), op, || {
            format!("a tensor of shape {:?} is not contiguous", layout.shape())
        })?;
        ensure(matches!(&*storage, Storage::Cpu(_)), op, || {
            "this build has no code for that device".to_owned()
        })?;
        let (start, len) = (layout.start_offset(), layout.shape().elem_count());
        Ok(Self { storage, start, len })
    }

    /// The elements, in row-major order.
    pub(crate) fn f32(&self, op: &'static str) -> Result<&[f32], KernelError> {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(values)) => Ok(&values[self.start..self.start + self.len]),
            _ => Err(KernelError::Shape { op, detail: "expected an f32 tensor".to_owned() }),
        }
    }
}
