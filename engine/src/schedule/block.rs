//! Blocks of KV cache: who holds which, and which are free.
//!
//! Pure bookkeeping over block numbers. The memory itself is `kernels::KvCache`; nothing here reads or writes
//! it. A sequence holds a block table, its blocks in position order; the pool counts how many tables hold each
//! block. Sharing of equal prefixes between tables is absent today, so every count is 0 or 1.

use std::collections::VecDeque;

/// A page of the KV cache, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BlockId(pub(crate) u32);

/// The pool of blocks of one engine.
#[derive(Debug)]
pub(crate) struct BlockManager {
    block_size_tokens: usize,
    references: Vec<u32>,
    free: VecDeque<BlockId>,
}

impl BlockManager {
    /// A pool of `count` free blocks of `block_size_tokens` each.
    pub(crate) fn new(count: u32, block_size_tokens: usize) -> Self {
        assert!(block_size_tokens > 0, "a block holds at least one token");
        Self {
            block_size_tokens,
            references: vec![0; count as usize],
            free: (0..count).map(BlockId).collect(),
        }
    }

    pub(crate) fn block_size_tokens(&self) -> usize {
        self.block_size_tokens
    }

    pub(crate) fn total(&self) -> usize {
        self.references.len()
    }

    pub(crate) fn used(&self) -> usize {
        self.total() - self.free.len()
    }

    /// Blocks that `tokens` tokens need.
    pub(crate) fn blocks_for(&self, tokens: usize) -> usize {
        tokens.div_ceil(self.block_size_tokens)
    }

    /// Grows `table` until it covers `tokens` tokens, or changes nothing and returns false.
    pub(crate) fn grow(&mut self, table: &mut Vec<BlockId>, tokens: usize) -> bool {
        let missing = self.blocks_for(tokens).saturating_sub(table.len());
        if missing > self.free.len() {
            return false;
        }
        for block in self.free.drain(..missing) {
            let references = &mut self.references[block.0 as usize];
            assert!(*references == 0, "free block {block:?} is held");
            *references = 1;
            table.push(block);
        }
        true
    }

    /// Gives every block of `table` back and empties it.
    pub(crate) fn release(&mut self, table: &mut Vec<BlockId>) {
        // Reversed, so that the tail of a sequence is handed out again before its head.
        for block in table.drain(..).rev() {
            let references = &mut self.references[block.0 as usize];
            assert!(*references > 0, "block {block:?} released twice");
            *references -= 1;
            if *references == 0 {
                self.free.push_back(block);
            }
        }
    }

    /// Whether the pool agrees with itself and with the given tables: every block is either free and held by
    /// none, or held by exactly as many tables as it counts.
    pub(crate) fn is_consistent<'a>(&self, tables: impl Iterator<Item = &'a [BlockId]>) -> bool {
        let mut held = vec![0u32; self.total()];
        tables.flatten().for_each(|block| held[block.0 as usize] += 1);
        let mut is_free = vec![false; self.total()];
        let listed_once =
            self.free.iter().all(|block| !std::mem::replace(&mut is_free[block.0 as usize], true));
        listed_once
            && held == self.references
            && is_free
                .iter()
                .zip(&self.references)
                .all(|(is_free, &references)| *is_free == (references == 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growing_is_all_or_nothing() {
        let mut blocks = BlockManager::new(3, 4);
        let mut table = Vec::new();
        assert!(blocks.grow(&mut table, 5));
        assert_eq!((table.len(), blocks.used()), (2, 2));
        assert!(!blocks.grow(&mut table, 13));
        assert_eq!((table.len(), blocks.used()), (2, 2));
        assert!(blocks.grow(&mut table, 12));
        assert!(blocks.is_consistent([table.as_slice()].into_iter()));
        blocks.release(&mut table);
        assert_eq!(blocks.used(), 0);
    }

    #[test]
    #[should_panic(expected = "released twice")]
    fn a_double_release_is_caught() {
        let mut blocks = BlockManager::new(1, 4);
        let mut table = Vec::new();
        assert!(blocks.grow(&mut table, 1));
        let mut copy = table.clone();
        blocks.release(&mut table);
        blocks.release(&mut copy);
    }
}
