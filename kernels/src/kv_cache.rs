//! One layer's keys and values, kept in pages of P tokens.
//!
//! The cache is two tensors of slots; a slot is `block * P + offset`. Which sequence owns a block is the
//! block manager's business. The cache is allocated once and written in place.

use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Tensor};

use crate::KernelError;
use crate::error::ensure;

const OP: &str = "write_kv";

/// The slot of a token that must not be written: padding of a captured device graph.
pub const PADDING_SLOT: i64 = -1;

/// The keys and values of one layer, `[N * P, K, D]` each.
#[derive(Clone, Debug)]
pub struct KvCache {
    keys: Tensor,
    values: Tensor,
}

impl KvCache {
    /// Allocates `slots` zeroed slots of `[kv_heads, head_dim]` keys and as many values.
    ///
    /// # Errors
    /// Returns [`KernelError`] if the device has no room.
    pub fn new(slots: usize, kv_heads: usize, head_dim: usize, device: &Device) -> Result<Self, KernelError> {
        let empty = || Tensor::zeros((slots, kv_heads, head_dim), DType::F32, device);
        Ok(Self { keys: empty()?, values: empty()? })
    }

    /// Overwrites every slot with `value`: tests poison the pool with NaN to find reads of unwritten slots.
    ///
    /// # Errors
    /// Returns [`KernelError`] if the device fails.
    pub fn fill(&self, value: f32) -> Result<(), KernelError> {
        let filled = Tensor::full(value, self.keys.shape(), self.keys.device())?;
        let slots: Vec<i64> = (0..self.keys.dim(0)? as i64).collect();
        write_kv(self, &filled, &filled, &slots)
    }

    pub(crate) fn keys(&self) -> &Tensor {
        &self.keys
    }

    pub(crate) fn values(&self) -> &Tensor {
        &self.values
    }
}

/// Writes this step's keys and values into the paged cache, in place.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `key`, `value` | `[T, K, D]` | f32, contiguous |
/// | `slots` | `[T]` | below `N * P`; [`PADDING_SLOT`] skips the token |
///
/// Slots must be distinct; duplicates race on a device.
///
/// # Errors
/// Returns [`KernelError`] if a shape, type, stride or slot differs from the table.
pub fn write_kv(cache: &KvCache, key: &Tensor, value: &Tensor, slots: &[i64]) -> Result<(), KernelError> {
    let (capacity, kv_heads, head_dim) = cache.keys.dims3()?;
    for rows in [key, value] {
        ensure(rows.dims() == [slots.len(), kv_heads, head_dim], OP, || {
            format!(
                "rows are {:?}, the cache holds [{kv_heads}, {head_dim}] in {} slots",
                rows.shape(),
                slots.len()
            )
        })?;
        ensure(rows.is_contiguous(), OP, || "rows are not contiguous".to_owned())?;
    }
    let inside =
        |slot: &i64| *slot == PADDING_SLOT || usize::try_from(*slot).is_ok_and(|slot| slot < capacity);
    ensure(slots.iter().all(inside), OP, || format!("a slot lies outside the cache's {capacity}"))?;
    let scatter = Scatter { slots, row: kv_heads * head_dim };
    cache.keys.inplace_op2(key, &scatter)?;
    cache.values.inplace_op2(value, &scatter)?;
    Ok(())
}

struct Scatter<'a> {
    slots: &'a [i64],
    row: usize,
}

impl InplaceOp2 for Scatter<'_> {
    fn name(&self) -> &'static str {
        OP
    }

    fn cpu_fwd(
        &self,
        cache: &mut CpuStorage,
        _: &Layout,
        rows: &CpuStorage,
        layout: &Layout,
    ) -> candle_core::Result<()> {
        let (CpuStorage::F32(cache), CpuStorage::F32(rows)) = (cache, rows) else {
            candle_core::bail!("{OP}: expected f32 tensors");
        };
        let rows = &rows[layout.start_offset()..];
        for (slot, row) in self.slots.iter().zip(rows.chunks_exact(self.row)) {
            if let Ok(slot) = usize::try_from(*slot) {
                cache[slot * self.row..][..self.row].copy_from_slice(row);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_land_in_their_slots_and_padding_nowhere() {
        let cache = KvCache::new(4, 1, 2, &Device::Cpu).unwrap();
        let rows = Tensor::from_slice(&[1f32, 2., 3., 4., 5., 6.], (3, 1, 2), &Device::Cpu).unwrap();
        write_kv(&cache, &rows, &rows, &[2, PADDING_SLOT, 0]).unwrap();
        let keys: Vec<f32> = cache.keys().flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(keys, [5., 6., 0., 0., 1., 2., 0., 0.]);
    }

    #[test]
    fn a_slot_outside_the_cache_is_refused() {
        let cache = KvCache::new(4, 1, 2, &Device::Cpu).unwrap();
        let row = Tensor::zeros((1, 1, 2), DType::F32, &Device::Cpu).unwrap();
        assert!(write_kv(&cache, &row, &row, &[4]).is_err());
        assert!(write_kv(&cache, &row, &row, &[-2]).is_err());
    }
}
