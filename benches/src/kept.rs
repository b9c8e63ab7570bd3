//! How a program that loads a checkpoint keeps its weights, as its command line has it.

use clap::ValueEnum;
use engine::WeightFormat;

/// How weights are kept.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Kept {
    /// As the files have them.
    AsStored,
    /// As 32-bit floats.
    F32,
    /// In blocks of 8 bits.
    Q8_0,
    /// In blocks of 4 bits.
    Q4K,
}

impl Kept {
    /// The same in the engine's terms.
    pub fn format(self) -> WeightFormat {
        match self {
            Self::AsStored => WeightFormat::AsStored,
            Self::F32 => WeightFormat::F32,
            Self::Q8_0 => WeightFormat::Q8_0,
            Self::Q4K => WeightFormat::Q4K,
        }
    }
}
