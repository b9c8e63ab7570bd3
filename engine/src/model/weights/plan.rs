//! In which format a weight is kept, and how much memory the weights of a checkpoint take.
//!
//! Quantising at load is for the large matrices of products. What decides (routers), what is looked up
//! (embeddings) and what is small is kept as it is stored: it costs little and matters most.

use std::fmt;

use kernels::Format;

use super::Weights;
use super::place::Rows;

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
    ///
    /// Matrices that stand in one weight and are stored in different formats are counted as they are stored,
    /// which may be a little less than they take.
    pub(crate) fn memory_bytes(&self, format: WeightFormat) -> u64 {
        let bytes = |(name, place): (&String, &super::Place)| {
            let width = place.shape.last().copied().unwrap_or(1).max(1);
            let rows = (place.len() / width) as u64;
            let is_matrix = place.shape.len() > 1;
            let format = match &place.rows {
                _ if !is_matrix => Format::F32,
                // Turned when it is loaded; both ways take as much.
                Rows::Latent { .. } => Format::F32,
                _ => format_of(format, name, place.format(), width),
            };
            rows * format.row_bytes(width) as u64
        };
        self.places.iter().map(bytes).sum()
    }
}
