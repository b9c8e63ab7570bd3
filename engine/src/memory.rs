//! How much memory a model needs, and how much there is: known before the first weight is read.
//!
//! A model that does not fit is refused with the numbers. Without that the kernel would end some process in the
//! middle of a load, or swap, and nobody would know why. Deliberately absent: what other engines of this process
//! may take; whoever runs several asks [`crate::need`] and shares out.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::EngineConfig;
use crate::model::{Attention, Description, FeedForward, Latent, Layer, WeightFormat};

/// What a model takes, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Weights, in the format in which they are kept.
    pub weights_bytes: u64,
    /// The KV cache, all of it.
    pub kv_cache_bytes: u64,
    /// The largest step's intermediate results, estimated.
    pub activation_bytes: u64,
}

impl Need {
    /// All of it.
    pub fn total_bytes(&self) -> u64 {
        self.weights_bytes.saturating_add(self.kv_cache_bytes).saturating_add(self.activation_bytes)
    }
}

impl fmt::Display for Need {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = Size(self.total_bytes());
        let (weights, cache) = (Size(self.weights_bytes), Size(self.kv_cache_bytes));
        write!(
            out,
            "{total}: weights {weights}, KV cache {cache}, activations {}",
            Size(self.activation_bytes)
        )
    }
}

/// Formats that would take less, with what they would need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Smaller(pub Vec<(WeightFormat, Need)>);

impl fmt::Display for Smaller {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (format, need) in &self.0 {
            write!(out, "load its weights as {format} ({} in all), ", Size(need.total_bytes()))?;
        }
        Ok(())
    }
}

/// A number of bytes, written for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

impl fmt::Display for Size {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1 << 30 => write!(out, "{:.1} GiB", bytes as f64 / f64::from(1 << 30)),
            bytes => write!(out, "{:.1} MiB", bytes as f64 / f64::from(1 << 20)),
        }
    }
}

/// The intermediate results of the largest step, estimated. Every product's result is there twice for a moment,
/// once as it is computed and once in the order in which it is wanted.
pub(crate) fn activation_bytes(description: &Description, config: &EngineConfig) -> u64 {
    let width = description.width;
    let attention = |layer: &Layer| match layer.attention {
        Attention::Grouped(heads) => (2 * heads.query + 2 * heads.key_value) * heads.dim,
        // Queries in both spaces, what is attended to in both, and the compressed row.
        Attention::Latent(shape) => {
            let Latent { heads, rank, plain_dim, rope_dim, value_dim, .. } = shape;
            heads * (plain_dim + 2 * rope_dim + 2 * rank + value_dim) + 2 * (rank + rope_dim)
        }
    };
    let feed_forward = |layer: &Layer| match &layer.feed_forward {
        FeedForward::Dense(dense) => 3 * dense.inner,
        FeedForward::Experts(experts) => {
            experts.gating.top_k * (3 * experts.inner + 2 * width)
                + experts.shared.map_or(0, |shared| 3 * shared.inner)
        }
    };
    let halves = description.layers.iter().map(|layer| attention(layer).max(feed_forward(layer)));
    let per_token = 4 * width + halves.max().unwrap_or(0);
    let rows = config.sequences_max.min(config.step_tokens_max);
    let elements = config.step_tokens_max * per_token + rows * description.vocabulary;
    2 * (elements * size_of::<f32>()) as u64
}

/// Memory that this process may still take, if the system says so: what is available on the machine, or in the
/// control group that the process is in, if that is less.
pub(crate) fn available_bytes() -> Option<u64> {
    let machine = meminfo(&fs::read_to_string("/proc/meminfo").ok()?);
    let group = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| group_bytes(&text));
    machine.into_iter().chain(group).min()
}

/// `MemAvailable` of `/proc/meminfo`.
fn meminfo(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1 << 10)
}

/// What is left in the control group, and in those it is in.
fn group_bytes(cgroup: &str) -> Option<u64> {
    let read = |folder: &Path, name: &str| fs::read_to_string(folder.join(name)).ok();
    // Version 2 has one line, `0::/path`; version 1 names the controllers of each.
    let (root, below, [limit, used]) = cgroup.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        match controllers {
            "" => Some(("/sys/fs/cgroup", path, ["memory.max", "memory.current"])),
            names if names.split(',').any(|name| name == "memory") => {
                Some(("/sys/fs/cgroup/memory", path, ["memory.limit_in_bytes", "memory.usage_in_bytes"]))
            }
            _ => None,
        }
    })?;
    let below = Path::new(root).join(below.trim_start_matches('/'));
    let groups = below.ancestors().take_while(|folder| folder.starts_with(root));
    groups
        .filter_map(|folder| left(&read(folder, limit)?, &read(folder, used)?, &read(folder, "memory.stat")?))
        .min()
}

/// What a group's limit leaves; pages of files count as free, since the kernel takes them back first.
fn left(limit: &str, used: &str, stat: &str) -> Option<u64> {
    let limit: u64 = limit.trim().parse().ok()?;
    let used: u64 = used.trim().parse().ok()?;
    let files = ["inactive_file ", "active_file "]
        .into_iter()
        .filter_map(|key| stat.lines().find_map(|line| line.strip_prefix(key)?.trim().parse::<u64>().ok()));
    Some(limit.saturating_sub(used.saturating_sub(files.sum())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_and_the_group_say_what_is_left() {
        let text = "MemTotal:  100 kB\nMemFree:  20 kB\nMemAvailable:   60 kB\n";
        assert_eq!(meminfo(text), Some(60 << 10));
        assert_eq!(meminfo("MemTotal: 100 kB\n"), None);
        let stat = "anon 500\nfile 300\nactive_file 100\ninactive_file 200\n";
        assert_eq!(left("1000\n", "800\n", stat), Some(500));
        assert_eq!(left("max\n", "800\n", stat), None);
        assert_eq!(left("1000\n", "5000\n", stat), Some(0));
    }

    #[test]
    fn sizes_are_written_for_people() {
        let need = Need { weights_bytes: 3 << 29, kv_cache_bytes: 1 << 30, activation_bytes: 5 << 19 };
        assert_eq!(need.to_string(), "2.5 GiB: weights 1.5 GiB, KV cache 1.0 GiB, activations 2.5 MiB");
    }
}
