//! In which format a weight is kept, and how much memory the weights of a checkpoint take.
//!
//! Quantising at load is for the large matrices of products. What decides (routers), what is looked up
//! (embeddings) and what is small is kept as it is stored: it costs little and matters most.

use std::collections::BTreeMap;
use std::fmt;

use kernels::Format;

use super::Weights;
use super::place::{Place, Rows};

/// How weights are kept in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightFormat {
    /// As the checkpoint has them.
    #[default]
    AsStored,
    /// All as f32: the fastest products without quantisation, at the price of memory.
    F32,
    /// Large matrices with 8 bits and a scale for 32 of them: about 8.5 bits for each weight.
    Q8_0,
    /// Large matrices with 4 bits and two scales for 32 of them: about 4.5 bits for each weight.
    Q4K,
}

impl WeightFormat {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::AsStored, Self::F32, Self::Q8_0, Self::Q4K];

    /// The format's name in settings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AsStored => "as_stored",
            Self::F32 => "f32",
            Self::Q8_0 => "q8_0",
            Self::Q4K => "q4_k",
        }
    }
}

impl fmt::Display for WeightFormat {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Parts of the names of matrices that are never quantised: the router's, the embedding, the expansion of latent
/// keys and values, which attention takes apart.
const NEVER_QUANTISED: [&str; 5] =
    ["embed_tokens", ".gate.weight", ".router.", "shared_expert_gate", ".kv_b_proj."];

/// Parts of the names of matrices that are kept as f32: what decides, and what attention takes apart.
const AS_F32: [&str; 4] = [".gate.weight", ".router.", "shared_expert_gate", ".kv_b_proj."];

/// Formats with fewer bits than `Q8_0` has. Quantising those again would lose without a gain.
fn is_small(format: Format) -> bool {
    format.row_bytes(1024) < Format::Q8_0.row_bytes(1024)
}

/// The format in which a weight is kept: `stored` is the checkpoint's, if it is one for the whole of it.
pub(super) fn format_of(kept: WeightFormat, name: &str, stored: Option<Format>, width: usize) -> Format {
    let as_stored = stored.unwrap_or(Format::F32);
    let wanted = match kept {
        WeightFormat::AsStored => return as_stored,
        WeightFormat::F32 => return Format::F32,
        _ if NEVER_QUANTISED.iter().any(|part| name.contains(part)) => return as_stored,
        // The head decides between near tokens, and is a small part of all but tiny models.
        WeightFormat::Q4K if name.starts_with("lm_head") => Format::Q8_0,
        WeightFormat::Q4K => Format::Q4K,
        WeightFormat::Q8_0 => Format::Q8_0,
    };
    if as_stored == wanted || stored.is_some_and(is_small) {
        return as_stored;
    }
    let fits = [wanted, Format::Q8_0].into_iter().find(|format| format.check(width).is_ok());
    let format = fits.unwrap_or(as_stored);
    if format != wanted {
        let (wanted, kept) = (wanted.name(), format.name());
        tracing::info!(name, width, wanted, kept, "rows do not fill the blocks of a format");
    }
    format
}

impl Weights {
    /// Bytes that the checkpoint's weights take in memory if they are kept in `format`.
    pub(crate) fn memory_bytes(&self, format: WeightFormat) -> u64 {
        // Matrices that stand in one weight are stored alike there, as f32 if their files do not agree.
        let mut stored: BTreeMap<String, Option<Format>> = BTreeMap::new();
        for (name, place) in &self.places {
            let one = place.format();
            let known = stored.entry(weight_of(name)).or_insert(one);
            *known = known.filter(|known| Some(*known) == one);
        }
        let bytes = |(name, place): (&String, &Place)| {
            let width = place.shape.last().copied().unwrap_or(1).max(1);
            let rows = (place.len() / width) as u64;
            let is_kept_as_f32 = place.shape.len() < 2
                || matches!(place.rows, Rows::Latent { .. })
                || AS_F32.iter().any(|part| name.contains(part));
            let one = stored.get(&weight_of(name)).copied().flatten();
            let format = if is_kept_as_f32 { Format::F32 } else { format_of(format, name, one, width) };
            rows * format.row_bytes(width) as u64
        };
        self.places.iter().map(bytes).sum()
    }
}

/// A name for the weight that a matrix stands in, beside others: queries, keys and values; gate and up; all experts.
fn weight_of(name: &str) -> String {
    let parts = name.split('.').map(|part| match part {
        "q_proj" | "k_proj" | "v_proj" => "qkv",
        "gate_proj" | "up_proj" | "w1" | "w3" => "gate_up",
        _ => part,
    });
    let mut parts: Vec<&str> = parts.collect();
    if let Some(at) = parts.iter().position(|part| *part == "experts")
        && parts.get(at + 1).is_some_and(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
    {
        parts.remove(at + 1);
    }
    parts.join(".")
}
