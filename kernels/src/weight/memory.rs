//! Memory for a weight: aligned, zero, and in huge pages where the system has them.
//!
//! A product walks through all of a weight. With pages of 4 KiB that is a miss of the address cache every few
//! rows, and when a model is loaded a fault for each of them.

use memmap2::MmapMut;
use pulp::bytemuck;

/// Bytes from which memory is asked of the system in pages of its own.
const PAGES_MIN_BYTES: usize = 1 << 20;

/// Some bytes, aligned for elements of every type.
#[derive(Debug)]
pub(super) enum Memory {
    /// Words rather than bytes, for their alignment.
    Words(Vec<u64>),
    Pages(MmapMut),
}

impl Memory {
    /// At least so many bytes, all zero.
    pub(super) fn zeroed(bytes: usize) -> Self {
        if bytes >= PAGES_MIN_BYTES
            && let Ok(pages) = MmapMut::map_anon(bytes)
        {
            #[cfg(target_os = "linux")]
            // Advice only: without huge pages it works as well, slower.
            let _ = pages.advise(memmap2::Advice::HugePage);
            return Self::Pages(pages);
        }
        Self::Words(vec![0; bytes.div_ceil(size_of::<u64>())])
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Words(words) => bytemuck::cast_slice(words),
            Self::Pages(pages) => pages,
        }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Words(words) => bytemuck::cast_slice_mut(words),
            Self::Pages(pages) => pages,
        }
    }
}
