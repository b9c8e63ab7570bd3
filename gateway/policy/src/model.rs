//! Models: a name that agents know, and where its answers come from.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::digest::Digest;
use crate::locality::Locality;
use crate::name::{ModelName, ProviderName};
use crate::provider::{Destination, Device};

/// A model, as the policy means it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    pub(crate) name: ModelName,
    pub(crate) provider: ProviderName,
    pub(crate) upstream_name: String,
    pub(crate) locality: Locality,
    pub(crate) target: Target,
    pub(crate) context_tokens: Option<u32>,
    pub(crate) weights_digest: Option<Digest>,
    pub(crate) price: Option<Price>,
}

/// What a model costs, in millionths of a US dollar for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Of tokens that are read.
    pub input: u64,
    /// Of tokens that the provider had read before.
    pub cached_input: u64,
    /// Of tokens that are written.
    pub output: u64,
}

/// What answers for a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The engine in this process.
    Engine(EngineTarget),
    /// An upstream over HTTP.
    Http(Arc<Destination>),
}

/// A model that this process loads itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EngineTarget {
    pub(crate) path: PathBuf,
    pub(crate) device: Device,
    pub(crate) weights: WeightFormat,
}

/// How the engine keeps a model's weights in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightFormat {
    /// As the model's files have them.
    AsStored,
    /// As f32.
    F32,
    /// Large matrices with 8 bits for each weight.
    Q8_0,
    /// Large matrices with 4 bits for each weight.
    Q4K,
}

impl WeightFormat {
    /// Every format.
    pub(crate) const ALL: [Self; 4] = [Self::AsStored, Self::F32, Self::Q8_0, Self::Q4K];

    /// Returns the word used in the policy file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AsStored => "as_stored",
            Self::F32 => "f32",
            Self::Q8_0 => "q8_0",
            Self::Q4K => "q4_k",
        }
    }
}

impl Model {
    /// Returns the name that agents use.
    pub fn name(&self) -> &ModelName {
        &self.name
    }

    /// Returns the provider that serves the model.
    pub fn provider(&self) -> &ProviderName {
        &self.provider
    }

    /// Returns the name that the provider knows the model by.
    pub fn upstream_name(&self) -> &str {
        &self.upstream_name
    }

    /// Returns where the model computes.
    pub fn locality(&self) -> Locality {
        self.locality
    }

    /// Returns what answers for the model.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Returns the longest sequence in tokens, where the policy declares one.
    pub fn context_tokens(&self) -> Option<u32> {
        self.context_tokens
    }

    /// Returns what the model costs, where the policy says so.
    pub fn price(&self) -> Option<Price> {
        self.price
    }

    /// Returns the SHA-256 that the model's files are declared to have.
    pub fn weights_digest(&self) -> Option<&Digest> {
        self.weights_digest.as_ref()
    }
}

impl EngineTarget {
    /// Returns the model's folder or file as written; a relative path is relative to the folder of the policy file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns what the model runs on.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Returns how the model's weights are kept in memory.
    pub fn weights(&self) -> WeightFormat {
        self.weights
    }
}
