//! Which replica has seen which beginnings of prompts.
//!
//! A set of pairs (rung, replica) in two generations. What is used is in the young one; when that is full it becomes
//! the old one, and what was old and not used since is forgotten. So memory has a limit, and nothing is ever sorted.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use crate::chance;
use crate::conversation::Prefix;

/// Pairs in one generation: at eight bytes each, a few MiB for both.
const GENERATION_MAX: usize = 1 << 17;

/// Locked for a few look-ups at a time.
#[derive(Debug, Default)]
pub(crate) struct Prefixes(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashSet<u64>,
    old: HashSet<u64>,
}

impl Prefixes {
    /// How many rungs of `prefix` each of `replicas` has seen, in their order.
    pub(crate) fn depths(&self, prefix: &Prefix, replicas: impl Iterator<Item = u64>) -> Vec<usize> {
        let generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let knows = |rung: u64, replica| {
            let pair = chance::pair(rung, replica);
            generations.young.contains(&pair) || generations.old.contains(&pair)
        };
        // Whoever has seen a rung has seen those below it.
        replicas.map(|replica| prefix.rungs().partition_point(|rung| knows(*rung, replica))).collect()
    }

    /// Notes that `replica` has seen all of `prefix`.
    pub(crate) fn learn(&self, prefix: &Prefix, replica: u64) {
        let mut generations = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for rung in prefix.rungs() {
            generations.insert(chance::pair(*rung, replica), GENERATION_MAX);
        }
    }
}

impl Generations {
    fn insert(&mut self, pair: u64, most: usize) {
        if self.young.len() >= most {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(pair);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_is_known_by_the_longest_beginning_it_has_seen() {
        let prefixes = Prefixes::default();
        let text = vec![b'x'; 10_000];
        prefixes.learn(&Prefix::of(b"o", &text[..1500]), 1);
        prefixes.learn(&Prefix::of(b"o", &text[..9000]), 2);
        let depths = prefixes.depths(&Prefix::of(b"o", &text), [1, 2, 3].into_iter());
        assert_eq!(depths, [2, 5, 0]);
        let others = prefixes.depths(&Prefix::of(b"p", &text), [1, 2, 3].into_iter());
        assert_eq!(others, [0, 0, 0], "another owner shares nothing");
    }

    #[test]
    fn memory_has_a_limit_and_what_is_used_stays() {
        let mut generations = Generations::default();
        for pair in 0..10_000_u64 {
            generations.insert(pair, 100);
            generations.insert(u64::MAX, 100);
            assert!(generations.young.len() <= 100 && generations.old.len() <= 100);
        }
        let knows = |pair| generations.young.contains(&pair) || generations.old.contains(&pair);
        assert!(knows(u64::MAX) && knows(9999) && knows(9950));
        assert!(!knows(9700), "two generations later it is forgotten");
    }
}
