//! A checkpoint's tensors under the names that candle-transformers asks for.
//!
//! The library asks by its own names; the family says what the checkpoint calls them. Every tensor is widened to f32
//! straight from the map, and one that nobody asked for is an error, as it is for the generators.

use std::sync::{Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, Linear, VarBuilder};

use super::family::{Bias, Naming, Source};
use crate::model::{ModelError, Weights};

/// The weights of one folder.
pub(super) struct Checkpoint {
    /// The library may ask from several threads, and which tensors were asked for is noted on the way.
    weights: Mutex<Weights>,
}

impl Checkpoint {
    pub(super) fn new(weights: Weights) -> Self {
        Self { weights: Mutex::new(weights) }
    }

    fn weights(&self) -> MutexGuard<'_, Weights> {
        // What was asked for is as true as before, whoever panicked.
        self.weights.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A view for the library, by a family's names.
    pub(super) fn builder<'a>(&'a self, naming: &Naming) -> VarBuilder<'a> {
        let probe = format!("{}{}", naming.prefix, naming.probe);
        let prefix = if self.weights().contains(&probe) { naming.prefix } else { "" };
        let view = View { checkpoint: self, prefix, source: naming.source };
        VarBuilder::from_backend(Box::new(view), DType::F32, Device::Cpu)
    }

    /// The product `[rows, width]` that goes by `name`.
    pub(super) fn linear(
        &self,
        name: &str,
        rows: usize,
        width: usize,
        bias: Bias,
    ) -> Result<Linear, ModelError> {
        let weight = self.vector(&format!("{name}.weight"), &[rows, width])?;
        let bias = match bias {
            Bias::Has => Some(self.vector(&format!("{name}.bias"), &[rows])?),
            Bias::HasNot => None,
        };
        Ok(Linear::new(weight, bias))
    }

    /// One tensor by its own name, as f32.
    pub(super) fn vector(&self, name: &str, shape: &[usize]) -> Result<Tensor, ModelError> {
        self.weights().vector(name, shape)
    }

    /// Whether there is a tensor of this name.
    pub(super) fn contains(&self, name: &str) -> bool {
        self.weights().contains(name)
    }

    /// Marks what may be in a family's checkpoint and has no part in the result.
    pub(super) fn skip_unused(&self, naming: &Naming) {
        let weights = self.weights();
        for unused in naming.unused {
            weights.skip_below(unused);
            weights.skip_below(&format!("{}{unused}", naming.prefix));
        }
    }

    /// Demands that every tensor was asked for.
    pub(super) fn finish(&self) -> Result<(), ModelError> {
        self.weights().finish()
    }
}

/// The checkpoint as the library sees it.
struct View<'a> {
    checkpoint: &'a Checkpoint,
    prefix: &'static str,
    source: fn(&str) -> Source,
}

impl SimpleBackend for View<'_> {
    fn get(
        &self,
        shape: Shape,
        name: &str,
        _: Init,
        dtype: DType,
        device: &Device,
    ) -> candle_core::Result<Tensor> {
        assert_eq!(dtype, DType::F32, "the builder was made for f32");
        match (self.source)(name) {
            Source::Zeros => Tensor::zeros(shape, dtype, device),
            Source::Tensor(name) => {
                let name = format!("{}{name}", self.prefix);
                self.checkpoint.vector(&name, shape.dims()).map_err(candle_core::Error::wrap)
            }
        }
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> candle_core::Result<Tensor> {
        // A shape that the config did not promise would be believed.
        Err(candle_core::Error::msg(format!("{name} was asked for without a shape")))
    }

    fn contains_tensor(&self, name: &str) -> bool {
        match (self.source)(name) {
            Source::Zeros => true,
            Source::Tensor(name) => self.checkpoint.contains(&format!("{}{name}", self.prefix)),
        }
    }
}
