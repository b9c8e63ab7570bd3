//! Hashes and numbers that look random and are a function of what goes in.
//!
//! Nothing here is a secret or has to withstand an adversary: whoever can choose the input can choose where his own
//! calls go, and the policy has already said that all of those places are allowed. Absent on purpose: a generator
//! with a state of its own.

/// An odd constant with well spread bits: 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads every bit of `x` over the whole word (the finaliser of `SplitMix64`).
pub(crate) fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// One number out of two; the order matters.
pub(crate) fn pair(a: u64, b: u64) -> u64 {
    mix(a.wrapping_add(GOLDEN) ^ mix(b.wrapping_add(GOLDEN)).rotate_left(23))
}

/// A number in (0, 1): never 0, so that its logarithm is finite, and never 1.
pub(crate) fn unit(x: u64) -> f64 {
    ((mix(x.wrapping_add(GOLDEN)) >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
}

/// A hash of bytes, continued from `seed`: eight at a time, because prompts are long.
pub(crate) fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = pair(seed, bytes.len() as u64);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = (state ^ u64::from_le_bytes(*word)).wrapping_mul(GOLDEN).rotate_left(29);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(state ^ u64::from_le_bytes(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_lie_inside_the_open_interval_and_are_even() {
        let count = 100_000;
        let values: Vec<f64> = (0..count).map(unit).collect();
        assert!(values.iter().all(|value| *value > 0.0 && *value < 1.0));
        let mean = values.iter().sum::<f64>() / count as f64;
        assert!((mean - 0.5).abs() < 0.005, "{mean}");
    }

    #[test]
    fn one_changed_bit_changes_half_of_the_hash() {
        let text = [7_u8; 41];
        let whole = hash(1, &text);
        let mut flips = 0;
        for bit in 0..text.len() * 8 {
            let mut other = text;
            other[bit / 8] ^= 1 << (bit % 8);
            flips += (hash(1, &other) ^ whole).count_ones();
        }
        let mean = f64::from(flips) / (text.len() * 8) as f64;
        assert!((24.0..40.0).contains(&mean), "{mean} of 64 bits change");
    }

    #[test]
    fn trailing_zeros_and_the_seed_count() {
        assert_ne!(hash(1, b"a"), hash(1, b"a\0"));
        assert_ne!(hash(1, b"a"), hash(2, b"a"));
        assert_ne!(pair(1, 2), pair(2, 1));
    }
}
