//! Rotary position embedding (Su et al. 2021, arXiv:2104.09864).
//!
//! The angle of pair `i` at position `p` is `p * inverse_frequency[i]`; how a family scales its frequencies
//! (linear, llama3, `YaRN`) is decided where the table is made and is invisible here. The cosines and sines of
//! a step are computed once and serve every layer.
//!
//! Pairs are half-split, `(x[i], x[i + R/2])`, as in Llama, Mistral, Qwen and Mixtral, or interleaved,
//! `(x[2i], x[2i + 1])`, as in `DeepSeek` and Llama 4. Dimensions from the rotary width R on pass through.

use candle_core::{Device, Tensor};

use crate::KernelError;
use crate::error::ensure;
use crate::view::HostView;

const OP: &str = "rope";

/// The frequencies of one kind of layer.
#[derive(Clone, Debug)]
pub struct RopeTable {
    inverse_frequencies: Vec<f32>,
    amplitude: f32,
}

/// Which elements of a head are rotated together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RopePairs {
    /// `(x[i], x[i + R/2])`.
    Halves,
    /// `(x[2i], x[2i + 1])`.
    Neighbours,
}

/// The cosines and sines of one step's positions, `[T, R/2]` each.
#[derive(Debug)]
pub struct RopeAngles {
    cos: Vec<f32>,
    sin: Vec<f32>,
    pairs: usize,
}

impl RopeTable {
    /// A table of `R/2` frequencies in radians per position; `amplitude` scales cosine and sine
    /// (`YaRN`'s attention factor, otherwise 1).
    pub fn new(inverse_frequencies: Vec<f32>, amplitude: f32) -> Self {
        Self { inverse_frequencies, amplitude }
    }

    /// The angles of the given positions (tokens from the start of their sequence).
    pub fn angles(&self, positions: &[u32]) -> RopeAngles {
        let pairs = self.inverse_frequencies.len();
        let mut angles = RopeAngles { cos: Vec::new(), sin: Vec::new(), pairs };
        for &position in positions {
            for frequency in &self.inverse_frequencies {
                let (sin, cos) = (position as f32 * frequency).sin_cos();
                angles.cos.push(cos * self.amplitude);
                angles.sin.push(sin * self.amplitude);
            }
        }
        angles
    }
}

/// Rotates each head of `x` by its token's angles.
///
/// | argument | shape | type |
/// |---|---|---|
/// | `x` | `[T, H or K, D]` | f32, contiguous, `D >= R` |
/// | `angles` | `[T, R/2]` | from [`RopeTable::angles`] |
/// | result | as `x` | f32 |
///
/// # Errors
/// Returns [`KernelError`] if a shape, type or stride differs from the table.
pub fn rope(x: &Tensor, angles: &RopeAngles, pairing: RopePairs) -> Result<Tensor, KernelError> {
    let (tokens, heads, head_dim) = x.dims3()?;
    let pairs = angles.pairs;
    ensure(head_dim >= 2 * pairs, OP, || {
        format!("head dimension {head_dim} is below the {} rotated", 2 * pairs)
    })?;
    ensure(angles.cos.len() == tokens * pairs, OP, || format!("{tokens} tokens, other angles"))?;
    let view = HostView::new(OP, x)?;
    let mut out = view.f32(OP)?.to_vec();
    for (token, heads) in out.chunks_exact_mut(heads * head_dim).enumerate() {
        let (cos, sin) = (&angles.cos[token * pairs..][..pairs], &angles.sin[token * pairs..][..pairs]);
        for head in heads.chunks_exact_mut(head_dim) {
            let head = &mut head[..2 * pairs];
            match pairing {
                RopePairs::Halves => {
                    let (low, high) = head.split_at_mut(pairs);
                    for i in 0..pairs {
                        (low[i], high[i]) = turned((low[i], high[i]), cos[i], sin[i]);
                    }
                }
                RopePairs::Neighbours => {
                    for (i, pair) in head.chunks_exact_mut(2).enumerate() {
                        (pair[0], pair[1]) = turned((pair[0], pair[1]), cos[i], sin[i]);
                    }
                }
            }
        }
    }
    Ok(Tensor::from_vec(out, x.shape(), &Device::Cpu)?)
}

fn turned((a, b): (f32, f32), cos: f32, sin: f32) -> (f32, f32) {
    (a * cos - b * sin, b * cos + a * sin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rotated(position: u32, x: &[f32]) -> Vec<f32> {
        rotated_in(RopePairs::Halves, position, x)
    }

    fn rotated_in(pairing: RopePairs, position: u32, x: &[f32]) -> Vec<f32> {
        let table = RopeTable::new(vec![1.0, 0.25], 1.0);
        let x = Tensor::from_slice(x, (1, 1, x.len()), &Device::Cpu).unwrap();
        rope(&x, &table.angles(&[position]), pairing).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn the_score_of_two_tokens_depends_on_their_distance_only() {
        let (q, k) = ([0.3, -1.0, 0.7, 2.0], [1.5, 0.2, -0.4, 0.9]);
        let score = |i, j| rotated(i, &q).iter().zip(rotated(j, &k)).map(|(a, b)| a * b).sum::<f32>();
        assert!((score(7, 3) - score(104, 100)).abs() < 1e-4);
        assert!((score(7, 3) - score(7, 4)).abs() > 1e-2);
    }

    #[test]
    fn dimensions_beyond_the_rotary_width_pass_through() {
        assert_eq!(rotated(9, &[1., 2., 3., 4., 5., 6.])[4..], [5., 6.]);
    }

    #[test]
    fn neighbours_turn_as_halves_do_in_another_order() {
        let halves = rotated(5, &[1., 2., 3., 4., 9.]);
        let neighbours = rotated_in(RopePairs::Neighbours, 5, &[1., 3., 2., 4., 9.]);
        let reordered = [0, 2, 1, 3, 4].map(|i: usize| neighbours[i]).to_vec();
        assert_eq!(reordered, halves);
    }
}
