//! Takes rows out of the maps to where they stay: the one place where a weight's bytes are moved.
//!
//! Work is cut by the rows of the result, a few mebibytes at a time, over all threads. What a thread has taken out
//! of a map it releases, so the maps hold no more than what is under way.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use kernels::{Format, RowsMut, WeightBuilder};
use rayon::prelude::*;

use super::map::Map;
use super::place::{Place, Rows, Scales, Slice};
use crate::model::ModelError;

/// Bytes of the result that one thread fills at a time.
const CHUNK_BYTES: usize = 2 << 20;

/// Rows that are turned from columns at a time: what is read of each column is a cache line.
const TURN_ROWS: usize = 32;

/// Is told how many of a checkpoint's bytes are loaded, and of how many. Called from several threads.
pub type Watch = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// The files of a checkpoint, and how much of them is loaded.
pub(super) struct Files {
    maps: Vec<Map>,
    watch: Watch,
    total_bytes: u64,
    done_bytes: AtomicU64,
}

impl Files {
    pub(super) fn new(maps: Vec<Map>) -> Self {
        let total_bytes = maps.iter().map(|map| map.bytes().len() as u64).sum();
        Self { maps, watch: Arc::new(|_, _| {}), total_bytes, done_bytes: AtomicU64::new(0) }
    }

    pub(super) fn watch(&mut self, watch: Watch) {
        self.watch = watch;
    }

    /// Says to whoever watches that nothing is left to do.
    pub(super) fn finish(&self) {
        (self.watch)(self.total_bytes, self.total_bytes);
    }

    /// Fills rows from tensors, each with as many.
    pub(super) fn fill(&self, parts: Vec<(&Place, RowsMut<'_>)>) -> Result<(), ModelError> {
        let mut pieces = Vec::new();
        for (place, out) in parts {
            if let Rows::Latent { keys, values, heads } = &place.rows {
                self.fill_latent((keys, values), *heads, out)?;
                continue;
            }
            let rows = (CHUNK_BYTES / out.format().row_bytes(out.width()).max(1)).max(1);
            let chunks = out.chunks(rows).into_iter().enumerate();
            pieces.extend(chunks.map(|(i, out)| (place, i * rows, out)));
        }
        pieces.into_par_iter().try_for_each(|(place, first, out)| self.fill_piece(place, first, out))
    }

    /// Fills rows from a tensor, whose row `first` is the first of them.
    fn fill_piece(&self, place: &Place, first: usize, mut out: RowsMut<'_>) -> Result<(), ModelError> {
        let (mut at, end) = (first, first + out.len());
        while at < end {
            let (slice, row) = place.locate(at);
            let follows = |n: &usize| place.locate(at + n) == (slice, row + n);
            let count = 1 + (1..end - at).take_while(follows).count();
            let (mut run, after) = out.split_at(count);
            self.take(&place.slices()[slice], row..row + count, &mut run)?;
            (out, at) = (after, at + count);
        }
        Ok(())
    }

    /// Takes consecutive rows, converted if the result has another format.
    fn take(&self, slice: &Slice, rows: Range<usize>, out: &mut RowsMut<'_>) -> Result<(), ModelError> {
        if slice.format == out.format() {
            return self.copy(slice, rows, out);
        }
        let mut stored = WeightBuilder::new(slice.format, &[rows.len(), slice.width])?;
        let count = rows.len();
        self.copy(slice, rows, &mut stored.all())?;
        Ok(out.encode(&stored.finish().to_f32(0..count)?)?)
    }

    fn copy(&self, slice: &Slice, rows: Range<usize>, out: &mut RowsMut<'_>) -> Result<(), ModelError> {
        let range = slice.bytes(rows.clone());
        let map = &self.maps[slice.file];
        map.prepare(&range);
        let bytes = &map.bytes()[range.clone()];
        match &slice.scales {
            Scales::None => out.copy(bytes)?,
            Scales::Ggml => out.mxfp4_of_ggml(bytes)?,
            Scales::Mxfp4 { file, start } => {
                let blocks = slice.width / 32;
                let scales = start + rows.start * blocks..start + rows.end * blocks;
                out.mxfp4(bytes, &self.maps[*file].bytes()[scales])?;
            }
            Scales::Fp8 { .. } => out.fp8(bytes, &self.fp8_scales(slice, rows)?)?,
        }
        self.report(range.len());
        map.release(range);
        Ok(())
    }

    /// The scales of some rows, `ceil(width / block)` for each.
    fn fp8_scales(&self, slice: &Slice, rows: Range<usize>) -> Result<Vec<f32>, ModelError> {
        let (Scales::Fp8 { file, start, format, rows: per }, Format::Fp8 { block }) =
            (&slice.scales, slice.format)
        else {
            return Ok(Vec::new());
        };
        let columns = slice.width.div_ceil(block);
        let row_bytes = format.row_bytes(columns);
        let (first, last) = (rows.start / per, (rows.end - 1) / per);
        let bytes = &self.maps[*file].bytes()[start + first * row_bytes..start + (last + 1) * row_bytes];
        let mut grid = WeightBuilder::new(*format, &[last - first + 1, columns])?;
        grid.all().copy(bytes)?;
        let grid = grid.finish().to_f32(0..last - first + 1)?;
        Ok(rows.flat_map(|row| grid[(row / per - first) * columns..][..columns].iter().copied()).collect())
    }

    /// Fills `[H (K + V), W]` where the keys' part is stored turned, `[H W, K]`, for each head.
    fn fill_latent(
        &self,
        (keys, values): (&Slice, &Slice),
        heads: usize,
        out: RowsMut<'_>,
    ) -> Result<(), ModelError> {
        let (width, key_rows, value_rows) = (values.width, keys.width, values.rows / heads);
        out.chunks(key_rows + value_rows).into_par_iter().enumerate().try_for_each(|(head, out)| {
            let (mut key_out, mut value_out) = out.split_at(key_rows);
            let mut stored = WeightBuilder::new(Format::F32, &[width, key_rows])?;
            self.take(keys, head * width..(head + 1) * width, &mut stored.all())?;
            let stored = stored.finish().to_f32(0..width)?;
            let mut turned = vec![0f32; stored.len()];
            for (column, values) in stored.chunks_exact(key_rows).enumerate() {
                values.iter().enumerate().for_each(|(row, value)| turned[row * width + column] = *value);
            }
            key_out.encode(&turned)?;
            self.take(values, head * value_rows..(head + 1) * value_rows, &mut value_out)
        })
    }

    /// Fills `[E, rows, width]` from a tensor `[E, width, rows]`.
    pub(super) fn fill_turned(
        &self,
        slice: &Slice,
        out: RowsMut<'_>,
        [rows, width]: [usize; 2],
    ) -> Result<(), ModelError> {
        let element = slice.format.row_bytes(1);
        out.chunks(rows).into_par_iter().enumerate().try_for_each(|(expert, mut out)| {
            let range = slice.bytes(expert * width..(expert + 1) * width);
            let map = &self.maps[slice.file];
            map.prepare(&range);
            let columns = &map.bytes()[range.clone()];
            let mut turned = vec![0u8; TURN_ROWS * width * element];
            for first in (0..rows).step_by(TURN_ROWS) {
                let count = TURN_ROWS.min(rows - first);
                let (mut part, after) = out.split_at(count);
                let turned = &mut turned[..count * width * element];
                for (c, column) in columns.chunks_exact(rows * element).enumerate() {
                    for r in 0..count {
                        let from = (first + r) * element;
                        turned[(r * width + c) * element..][..element]
                            .copy_from_slice(&column[from..from + element]);
                    }
                }
                if part.format() == slice.format {
                    part.copy(turned)?;
                } else {
                    let mut stored = WeightBuilder::new(slice.format, &[count, width])?;
                    stored.all().copy(turned)?;
                    part.encode(&stored.finish().to_f32(0..count)?)?;
                }
                out = after;
            }
            self.report(range.len());
            map.release(range);
            Ok(())
        })
    }

    /// Counts bytes that were taken from the files, and says so to whoever watches.
    fn report(&self, bytes: usize) {
        let done = self.done_bytes.fetch_add(bytes as u64, Relaxed) + bytes as u64;
        (self.watch)(done, self.total_bytes);
    }
}
