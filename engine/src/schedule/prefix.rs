//! What a full block holds, as a name: a chain of hashes over everything before it and whose it is.
//!
//! Two blocks with the same key hold the same keys and values, because these depend on the tokens up to the block's end
//! and on nothing else (the kernels give the same bits however the work is cut). The chain begins at the name of a
//! tenant, so what one tenant computed is never found by another, and nobody learns from the time of a first token what
//! somebody else has asked. SHA-256 and no secret: the same text has the same key in every process and after a restart.

use std::sync::Arc;

use sha2::{Digest, Sha256};

/// SHA-256 over a block and all before it.
pub(crate) type BlockHash = [u8; 32];

/// Separates these hashes from all others of the same function.
const DOMAIN: &[u8] = b"portcullis kv block v1\n";

/// What a full block holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BlockKey {
    pub(crate) hash: BlockHash,
    /// Compared on every hit, so that not even a broken hash function could mix two texts up.
    pub(crate) tokens: Box<[u32]>,
}

/// The keys of one sequence's full blocks, in order.
#[derive(Debug)]
pub(crate) struct Chain {
    root: BlockHash,
    keys: Vec<Arc<BlockKey>>,
}

impl Chain {
    /// The beginning of everything that `tenant` computes.
    pub(crate) fn of(tenant: &str) -> Self {
        let root = Sha256::new().chain_update(DOMAIN).chain_update(tenant.as_bytes()).finalize();
        Self { root: root.into(), keys: Vec::new() }
    }

    /// The keys of the first `blocks` blocks of a sequence with these tokens, which fill them. What was worked out once
    /// is kept: tokens are only ever appended.
    pub(crate) fn keys(&mut self, tokens: &[u32], block_size: usize, blocks: usize) -> &[Arc<BlockKey>] {
        for index in self.keys.len()..blocks {
            let tokens = &tokens[index * block_size..(index + 1) * block_size];
            let before = self.keys.last().map_or(&self.root, |key| &key.hash);
            let mut hasher = Sha256::new().chain_update(before);
            for token in tokens {
                hasher.update(token.to_le_bytes());
            }
            self.keys.push(Arc::new(BlockKey { hash: hasher.finalize().into(), tokens: tokens.into() }));
        }
        &self.keys[..blocks]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hashes(tenant: &str, tokens: &[u32]) -> Vec<BlockHash> {
        let mut chain = Chain::of(tenant);
        chain.keys(tokens, 2, tokens.len() / 2).iter().map(|key| key.hash).collect()
    }

    #[test]
    fn a_key_depends_on_all_before_it_and_on_the_tenant() {
        let [a, b] = [hashes("one", &[1, 2, 3, 4]), hashes("one", &[9, 2, 3, 4])];
        assert!(a[0] != b[0] && a[1] != b[1]);
        assert_eq!(a[..1], hashes("one", &[1, 2, 7, 7])[..1]);
        let other = hashes("two", &[1, 2, 3, 4]);
        assert!(a.iter().zip(&other).all(|(one, two)| one != two));
    }

    #[test]
    fn a_chain_that_grows_keeps_its_beginning() {
        let mut chain = Chain::of("one");
        let first = chain.keys(&[1, 2, 3], 2, 1).to_vec();
        assert_eq!(chain.keys(&[1, 2, 3, 4, 5], 2, 2)[..1], first);
    }

    #[test]
    fn a_key_is_the_same_in_every_process() {
        // SHA-256 of SHA-256("portcullis kv block v1\nteam") and the tokens as little-endian words.
        let hash = u128::from_be_bytes(*hashes("team", &[1, 2])[0].first_chunk().expect("32 bytes"));
        assert_eq!(hash, 0x3cd5_884e_b284_6631_fde4_1225_7c26_9357);
    }
}
