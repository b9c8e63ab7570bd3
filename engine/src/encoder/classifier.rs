//! The head of a classifier: a text's vector to the probabilities of its labels.

use candle_core::{D, Device, Module, Tensor};
use candle_nn::{LayerNorm, Linear};

use super::checkpoint::Checkpoint;
use super::family::{Activation, Bias, Head, HeadPooling};
use super::pooling::{Mode, pool};
use crate::model::{Config, ModelError};

/// What scores become, by what the labels mean to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// One label is right: probabilities add up to 1.
    Softmax,
    /// Each label is right or not.
    Sigmoid,
}

/// A classifier's labels, in the order of their probabilities.
#[derive(Debug)]
pub(super) struct Labels {
    pub(super) names: Vec<String>,
    pub(super) scale: Scale,
}

impl Labels {
    /// Reads `id2label` and `problem_type`.
    pub(super) fn read(config: &Config) -> Result<Self, ModelError> {
        let mut names = Vec::new();
        if let Some(list) = config.find_object("id2label")? {
            while let Some(name) = list.find_word(&names.len().to_string())? {
                names.push(name);
            }
            list.finish()?;
        }
        if names.is_empty() {
            return Err(ModelError::Field {
                name: "id2label".to_owned(),
                expected: "an object with a name for 0, 1, …",
            });
        }
        let scale = match config.find_word("problem_type")?.as_deref() {
            Some("single_label_classification") => Scale::Softmax,
            Some("multi_label_classification") => Scale::Sigmoid,
            // By softmax the only label there is would have probability 1 whatever the text.
            None => {
                if names.len() == 1 {
                    Scale::Sigmoid
                } else {
                    Scale::Softmax
                }
            }
            Some(other) => {
                return Err(ModelError::Unsupported {
                    what: format!("problem_type = {other}"),
                    supported: "single_label_classification, multi_label_classification".to_owned(),
                });
            }
        };
        Ok(Self { names, scale })
    }
}

/// A loaded head.
pub(super) struct Classifier {
    mode: Mode,
    dense: Linear,
    activation: Activation,
    norm: Option<LayerNorm>,
    out: Linear,
    scale: Scale,
}

impl Classifier {
    /// Takes the head's tensors, for vectors of `hidden_size`.
    pub(super) fn load(
        head: &Head,
        hidden_size: usize,
        labels: &Labels,
        checkpoint: &Checkpoint,
    ) -> Result<Self, ModelError> {
        let (name, bias) = head.dense;
        let norm = match head.norm {
            Some((name, eps)) => {
                let weight = checkpoint.vector(&format!("{name}.weight"), &[hidden_size])?;
                Some(LayerNorm::new_no_bias(weight, eps))
            }
            None => None,
        };
        Ok(Self {
            mode: match head.pools {
                HeadPooling::FirstToken => Mode::Cls,
                HeadPooling::Mean => Mode::Mean,
            },
            dense: checkpoint.linear(name, hidden_size, hidden_size, bias)?,
            activation: head.activation,
            norm,
            out: checkpoint.linear(head.out, labels.names.len(), hidden_size, Bias::Has)?,
            scale: labels.scale,
        })
    }

    /// The probabilities of the labels, from the vectors `[T, H]` of a text's tokens.
    pub(super) fn probabilities(&self, tokens: &[Vec<f32>]) -> Result<Vec<f32>, ModelError> {
        let pooled = pool(tokens, &[self.mode]);
        let width = pooled.len();
        let mut vector = Tensor::from_vec(pooled, (1, width), &Device::Cpu)?;
        vector = apply(self.activation, &self.dense.forward(&vector)?)?;
        if let Some(norm) = &self.norm {
            vector = norm.forward(&vector)?;
        }
        let scores = self.out.forward(&vector)?;
        let probabilities = match self.scale {
            Scale::Softmax => candle_nn::ops::softmax(&scores, D::Minus1)?,
            Scale::Sigmoid => candle_nn::ops::sigmoid(&scores)?,
        };
        Ok(probabilities.squeeze(0)?.to_vec1()?)
    }
}

/// Applies a function to each element.
pub(super) fn apply(activation: Activation, x: &Tensor) -> Result<Tensor, ModelError> {
    Ok(match activation {
        Activation::Identity => x.clone(),
        Activation::Gelu => x.gelu_erf()?,
        Activation::GeluTanh => x.gelu()?,
        Activation::Relu => x.relu()?,
        Activation::Tanh => x.tanh()?,
    })
}
