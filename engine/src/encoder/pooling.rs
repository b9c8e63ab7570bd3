//! The vectors of a text's tokens become one.
//!
//! In plain loops over the text's own tokens: what stands behind it in the batch is never looked at.

/// How one vector is made of several.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The first token's.
    Cls,
    /// The largest of each component.
    Max,
    Mean,
    /// The sum by the square root of the number of tokens.
    MeanSqrtLen,
    /// The mean where the n-th token counts n times.
    WeightedMean,
    /// The last token's.
    LastToken,
}

impl Mode {
    /// All of them, by the name that sentence-transformers gives them, and in its order.
    pub(super) const ALL: [(&'static str, Self); 6] = [
        ("cls", Self::Cls),
        ("max", Self::Max),
        ("mean", Self::Mean),
        ("mean_sqrt_len_tokens", Self::MeanSqrtLen),
        ("weightedmean", Self::WeightedMean),
        ("lasttoken", Self::LastToken),
    ];
}

/// Pools the vectors `[T, H]` of a text's tokens, T at least 1, into `[modes, H]`, one mode behind the other.
pub(super) fn pool(tokens: &[Vec<f32>], modes: &[Mode]) -> Vec<f32> {
    let len = tokens.len() as f32;
    modes
        .iter()
        .flat_map(|mode| match mode {
            Mode::Cls => tokens[0].clone(),
            Mode::LastToken => tokens[tokens.len() - 1].clone(),
            Mode::Max => reduce(tokens, |_, most, value| most.max(value)),
            Mode::Mean => scaled(reduce(tokens, |_, sum, value| sum + value), len),
            Mode::MeanSqrtLen => scaled(reduce(tokens, |_, sum, value| sum + value), len.sqrt()),
            Mode::WeightedMean => {
                let sum = reduce(tokens, |place, sum, value| sum + (place + 1) as f32 * value);
                scaled(sum, len * (len + 1.0) / 2.0)
            }
        })
        .collect()
}

/// Folds each component over the tokens, from the first one's value on.
fn reduce(tokens: &[Vec<f32>], fold: impl Fn(usize, f32, f32) -> f32) -> Vec<f32> {
    let mut folded = tokens[0].clone();
    for (place, token) in tokens.iter().enumerate().skip(1) {
        folded.iter_mut().zip(token).for_each(|(folded, value)| *folded = fold(place, *folded, *value));
    }
    folded
}

fn scaled(mut vector: Vec<f32>, by: f32) -> Vec<f32> {
    for value in &mut vector {
        *value /= by;
    }
    vector
}

/// Brings a vector to length 1; one of zeros stays as it is.
pub(super) fn normalise(vector: &mut [f32]) {
    /// Below it a length is taken for this, as the reference does.
    const LENGTH_MIN: f32 = 1e-12;
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(LENGTH_MIN);
    for value in vector {
        *value /= length;
    }
}

#[cfg(test)]
mod tests {
    use super::{Mode, normalise, pool};

    #[test]
    fn each_mode_makes_its_own_vector_and_several_stand_behind_each_other() {
        let tokens = [vec![1.0, -4.0], vec![3.0, -2.0], vec![2.0, 0.0], vec![-2.0, 2.0]];
        let pooled = |mode| pool(&tokens, &[mode]);
        assert_eq!(pooled(Mode::Cls), [1.0, -4.0]);
        assert_eq!(pooled(Mode::LastToken), [-2.0, 2.0]);
        assert_eq!(pooled(Mode::Max), [3.0, 2.0]);
        assert_eq!(pooled(Mode::Mean), [1.0, -1.0]);
        assert_eq!(pooled(Mode::MeanSqrtLen), [2.0, -2.0]);
        assert_eq!(pooled(Mode::WeightedMean), [0.5, 0.0]);
        assert_eq!(pool(&tokens, &[Mode::Mean, Mode::Cls]), [1.0, -1.0, 1.0, -4.0]);
    }

    #[test]
    fn a_vector_of_zeros_has_no_direction_and_stays() {
        let normalised = |mut vector: Vec<f32>| {
            normalise(&mut vector);
            vector
        };
        assert_eq!(normalised(vec![0.0, 0.0]), [0.0, 0.0]);
        assert_eq!(normalised(vec![3.0, -4.0]), [0.6, -0.8]);
    }
}
