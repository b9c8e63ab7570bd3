//! One layer's keys and values, kept in pages of P tokens.
//!
//! The cache is one or two tensors of slots; a slot is `block * P + offset`. Which sequence owns a block is the
//! block manager's business. The cache is allocated once and written in place.
//!
//! A latent cache (MLA) has one row per token that all heads share: the compressed key-value vector and the rotated
//! part of the key. Values are the compressed vector, so they are not stored a second time.

use candle_core::{CpuStorage, DType, Device, InplaceOp2, Layout, Tensor};

use crate::KernelError;
use crate::error::ensure;

const OP: &str = "write_kv";

/// The slot of a token that must not be written: padding of a captured device graph.
pub const PADDING_SLOT: i64 = -1;

/// The keys and values of one layer.
#[derive(Clone, Debug)]
pub struct KvCache {
    /// `[N * P, K, D]`.
    keys: Tensor,
    values: Values,
}

#[derive(Clone, Debug)]
enum Values {
    /// `[N * P, K, Dv]`.
    Apart(Tensor),
    /// The first this many elements of each key.
    InKeys(usize),
}

impl KvCache {
    /// Allocates `slots` zeroed slots of `kv_heads` keys of D and values of Dv elements, `dims` being `(D, Dv)`.
    ///
    /// # Errors
    /// Returns [`KernelError`] if the device has no room.
    pub fn new(
        slots: usize,
        kv_heads: usize,
        dims: (usize, usize),
        device: &Device,
    ) -> Result<Self, KernelError> {
        let empty = |dim: usize| Tensor::zeros((slots, kv_heads, dim), DType::F32, device);
        Ok(Self { keys: empty(dims.0)?, values: Values::Apart(empty(dims.1)?) })
    }

    /// Allocates `slots` zeroed latent rows of `width` elements, of which the first `value_dim` are the value.
    ///
    /// # Errors
    /// Returns [`KernelError`] if a value is longer than a row, or the device has no room.
    pub fn latent(
        slots: usize,
        width: usize,
        value_dim: usize,
        device: &Device,
    ) -> Result<Self, KernelError> {
        ensure(value_dim <= width, OP, || format!("values of {value_dim} in rows of {width}"))?;
        let keys = Tensor::zeros((slots, 1, width), DType::F32, device)?;
        Ok(Self { keys, values: Values::InKeys(value_dim) })
    }

    /// Overwrites every slot with `value`: tests poison the pool with NaN to find reads of unwritten slots.
    ///
    /// # Errors
    /// Returns [`KernelError`] if the device fails.
    pub fn fill(&self, value: f32) -> Result<(), KernelError> {
        let slots: Vec<i64> = (0..self.keys.dim(0)? as i64).collect();
        let full = |tensor: &Tensor| Tensor::full(value, tensor.shape(), tensor.device());
        scatter(&self.keys, &full(&self.keys)?, &slots)?;
        match &self.values {
            Values::Apart(values) => scatter(values, &full(values)?, &slots),
            Values::InKeys(_) => Ok(()),
        }
    }

    pub(crate) fn keys(&self) -> &Tensor {
        &self.keys
    }

    /// The tensor that holds the values, in the first [`Self::value_dim`] elements of each row.
    pub(crate) fn values(&self) -> &Tensor {
        match &self.values {
            Values::Apart(values) => values,
            Values::InKeys(_) => &self.keys,
        }
    }

    pub(crate) fn value_dim(&self) -> usize {
        match &self.values {
            Values::Apart(values) => values.dims()[2],
            Values::InKeys(dim) => *dim,
        }
    }
}

/// Writes this step's keys and values into the paged cache, in place.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `key` | `[T, K, D]` | f32, contiguous |
/// | `value` | `[T, K, Dv]` | f32, contiguous |
/// | `slots` | `[T]` | below `N * P`; [`PADDING_SLOT`] skips the token |
///
/// Slots must be distinct; duplicates race on a device.
///
/// # Errors
/// Returns [`KernelError`] if a shape, type, stride or slot differs from the table, or the cache is latent.
pub fn write_kv(cache: &KvCache, key: &Tensor, value: &Tensor, slots: &[i64]) -> Result<(), KernelError> {
    let Values::Apart(values) = &cache.values else {
        return Err(KernelError::Shape { op: OP, detail: "the cache holds latent rows".to_owned() });
    };
    scatter(&cache.keys, key, slots)?;
    scatter(values, value, slots)
}

/// Writes this step's latent rows into the paged cache, in place.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `rows` | `[T, width]` | f32, contiguous |
/// | `slots` | `[T]` | as for [`write_kv`] |
///
/// # Errors
/// Returns [`KernelError`] if a shape, type, stride or slot differs from the table, or the cache is not latent.
pub fn write_latent(cache: &KvCache, rows: &Tensor, slots: &[i64]) -> Result<(), KernelError> {
    let latent = matches!(cache.values, Values::InKeys(_));
    ensure(latent, OP, || "the cache holds keys and values apart".to_owned())?;
    scatter(&cache.keys, &rows.unsqueeze(1)?, slots)
}

fn scatter(cache: &Tensor, rows: &Tensor, slots: &[i64]) -> Result<(), KernelError> {
    let (capacity, heads, dim) = cache.dims3()?;
    ensure(rows.dims() == [slots.len(), heads, dim], OP, || {
        let (rows, slots) = (rows.shape(), slots.len());
        format!("rows are {rows:?}, the cache holds [{heads}, {dim}] in {slots} slots")
    })?;
    ensure(rows.is_contiguous(), OP, || "rows are not contiguous".to_owned())?;
    let inside =
        |slot: &i64| *slot == PADDING_SLOT || usize::try_from(*slot).is_ok_and(|slot| slot < capacity);
    ensure(slots.iter().all(inside), OP, || format!("a slot lies outside the cache's {capacity}"))?;
    cache.inplace_op2(rows, &Scatter { slots, row: heads * dim })?;
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
        let cache = KvCache::new(4, 1, (2, 2), &Device::Cpu).unwrap();
        let rows = Tensor::from_slice(&[1f32, 2., 3., 4., 5., 6.], (3, 1, 2), &Device::Cpu).unwrap();
        write_kv(&cache, &rows, &rows, &[2, PADDING_SLOT, 0]).unwrap();
        let keys: Vec<f32> = cache.keys().flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(keys, [5., 6., 0., 0., 1., 2., 0., 0.]);
    }

    #[test]
    fn a_slot_outside_the_cache_is_refused() {
        let cache = KvCache::new(4, 1, (2, 2), &Device::Cpu).unwrap();
        let row = Tensor::zeros((1, 1, 2), DType::F32, &Device::Cpu).unwrap();
        assert!(write_kv(&cache, &row, &row, &[4]).is_err());
        assert!(write_kv(&cache, &row, &row, &[-2]).is_err());
    }

    #[test]
    fn latent_rows_and_pairs_do_not_mix() {
        let pairs = KvCache::new(4, 1, (2, 2), &Device::Cpu).unwrap();
        let latent = KvCache::latent(4, 2, 1, &Device::Cpu).unwrap();
        let row = Tensor::zeros((1, 2), DType::F32, &Device::Cpu).unwrap();
        let head = row.unsqueeze(1).unwrap();
        assert!(write_latent(&latent, &row, &[3]).is_ok());
        assert!(write_latent(&pairs, &row, &[3]).is_err());
        assert!(write_kv(&latent, &head, &head, &[3]).is_err());
    }
}
