//! A loaded encoder: texts as token ids, to one vector or one list of probabilities each.

use std::path::Path;

use candle_core::{Device, Module, Tensor};
use candle_nn::Linear;

use super::checkpoint::Checkpoint;
use super::classifier::{Classifier, Labels, apply};
use super::family::{Activation, Bias, Description};
use super::network::Network;
use super::pooling::{Mode, normalise, pool};
use super::sentence::{Recipe, Step};
use crate::model::{ModelError, Quantization, Weights};

/// Everything between token ids and the values that a client gets.
pub(super) struct Model {
    network: Network,
    pad_token: u32,
    end: End,
}

/// What is made of the vectors of a text's tokens.
enum End {
    Embedding { pooling: Vec<Mode>, steps: Vec<Applied> },
    Labels(Classifier),
}

/// A step after the pooling, with its weights.
enum Applied {
    Dense(Linear, Activation),
    Normalise,
}

impl Model {
    /// Loads a network whose vectors are pooled as `recipe` says.
    pub(super) fn embedding(
        folder: &Path,
        description: &Description,
        recipe: &Recipe,
    ) -> Result<Self, ModelError> {
        let steps = recipe.steps.iter().map(load_step).collect::<Result<_, _>>()?;
        let end = End::Embedding { pooling: recipe.pooling.clone(), steps };
        Self::load(folder, description, |_| Ok(end))
    }

    /// Loads a network and the head that gives its `labels`.
    pub(super) fn classifier(
        folder: &Path,
        description: &Description,
        labels: &Labels,
    ) -> Result<Self, ModelError> {
        let Description { head, hidden_size, .. } = description;
        let end = |checkpoint: &_| Classifier::load(head, *hidden_size, labels, checkpoint).map(End::Labels);
        Self::load(folder, description, end)
    }

    fn load(
        folder: &Path,
        description: &Description,
        end: impl FnOnce(&Checkpoint) -> Result<End, ModelError>,
    ) -> Result<Self, ModelError> {
        let checkpoint = Checkpoint::new(Weights::open(folder, &Quantization::default())?);
        let network = Network::load(&description.network, checkpoint.builder(&description.naming))?;
        let end = end(&checkpoint)?;
        checkpoint.skip_unused(&description.naming);
        checkpoint.finish()?;
        Ok(Self { network, pad_token: description.pad_token, end })
    }

    /// The values of each text, in order. No text is empty.
    pub(super) fn run(&self, texts: &[&[u32]]) -> Result<Vec<Vec<f32>>, ModelError> {
        let longest = texts.iter().map(|text| text.len()).max().unwrap_or(0);
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for text in texts {
            let padding = longest - text.len();
            ids.extend_from_slice(text);
            ids.extend(std::iter::repeat_n(self.pad_token, padding));
            mask.extend(std::iter::repeat_n(1u32, text.len()));
            mask.extend(std::iter::repeat_n(0u32, padding));
        }
        let shape = (texts.len(), longest);
        let ids = Tensor::from_vec(ids, shape, &Device::Cpu)?;
        let mask = Tensor::from_vec(mask, shape, &Device::Cpu)?;
        let hidden = self.network.forward(&ids, &mask)?;
        let value = |(row, text): (usize, &&[u32])| {
            let tokens = hidden.get(row)?.narrow(0, 0, text.len())?.to_vec2::<f32>()?;
            self.end.value(&tokens)
        };
        texts.iter().enumerate().map(value).collect()
    }
}

impl End {
    fn value(&self, tokens: &[Vec<f32>]) -> Result<Vec<f32>, ModelError> {
        let (pooling, steps) = match self {
            Self::Labels(classifier) => return classifier.probabilities(tokens),
            Self::Embedding { pooling, steps } => (pooling, steps),
        };
        let mut vector = pool(tokens, pooling);
        for step in steps {
            match step {
                Applied::Normalise => normalise(&mut vector),
                Applied::Dense(linear, activation) => {
                    let width = vector.len();
                    let row = Tensor::from_vec(vector, (1, width), &Device::Cpu)?;
                    vector = apply(*activation, &linear.forward(&row)?)?.squeeze(0)?.to_vec1()?;
                }
            }
        }
        Ok(vector)
    }
}

fn load_step(step: &Step) -> Result<Applied, ModelError> {
    let Step::Dense(dense) = step else { return Ok(Applied::Normalise) };
    let checkpoint = Checkpoint::new(Weights::open(&dense.folder, &Quantization::default())?);
    let bias = if dense.has_bias { Bias::Has } else { Bias::HasNot };
    let linear = checkpoint.linear("linear", dense.width_out, dense.width_in, bias)?;
    checkpoint.finish()?;
    Ok(Applied::Dense(linear, dense.activation))
}
