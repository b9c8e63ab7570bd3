//! Blocks of KV cache: who holds which, and which are free.
//!
//! Pure bookkeeping over block numbers. The memory itself is `kernels::KvCache`; nothing here reads or writes
//! it. Layers that see equally far form a group with a pool of its own: a full layer needs every token of a
//! sequence, a sliding one only the last few. A sequence holds a block table for each group, its blocks in position
//! order; the pool counts how many tables hold each block. Sharing of equal prefixes between tables is absent
//! today, so every count is 0 or 1.

use std::collections::VecDeque;

use kernels::Reach;

/// A page of one group's KV cache, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BlockId(pub(crate) u32);

/// One sequence's blocks in one group.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlockTable {
    /// Blocks at the start of the sequence that no token sees any more.
    freed: usize,
    /// Those after them, in position order.
    blocks: Vec<BlockId>,
}

impl BlockTable {
    /// The block of the sequence's `index`-th run of positions.
    pub(crate) fn block_at(&self, index: usize) -> BlockId {
        self.blocks[index - self.freed]
    }

    pub(crate) fn freed(&self) -> usize {
        self.freed
    }

    pub(crate) fn blocks(&self) -> &[BlockId] {
        &self.blocks
    }

    /// Blocks' worth of positions that the table has covered so far.
    fn covered(&self) -> usize {
        self.freed + self.blocks.len()
    }
}

/// What one group of layers gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PoolSize {
    pub(crate) reach: Reach,
    pub(crate) blocks: u32,
}

/// The blocks of one engine, a pool for each group.
#[derive(Debug)]
pub(crate) struct BlockManager {
    block_size_tokens: usize,
    pools: Vec<Pool>,
}

#[derive(Debug)]
struct Pool {
    reach: Reach,
    references: Vec<u32>,
    free: VecDeque<BlockId>,
}

impl BlockManager {
    /// Pools of free blocks of `block_size_tokens` each.
    pub(crate) fn new(sizes: &[PoolSize], block_size_tokens: usize) -> Self {
        assert!(block_size_tokens > 0, "a block holds at least one token");
        let pool = |size: &PoolSize| Pool {
            reach: size.reach,
            references: vec![0; size.blocks as usize],
            free: (0..size.blocks).map(BlockId).collect(),
        };
        Self { block_size_tokens, pools: sizes.iter().map(pool).collect() }
    }

    pub(crate) fn block_size_tokens(&self) -> usize {
        self.block_size_tokens
    }

    pub(crate) fn groups(&self) -> usize {
        self.pools.len()
    }

    /// Blocks in all pools.
    pub(crate) fn total(&self) -> usize {
        self.pools.iter().map(|pool| pool.references.len()).sum()
    }

    /// Blocks that some sequence holds.
    pub(crate) fn used(&self) -> usize {
        self.total() - self.pools.iter().map(|pool| pool.free.len()).sum::<usize>()
    }

    /// Grows each group's table until it covers `tokens` tokens, or changes nothing and returns false.
    pub(crate) fn grow(&mut self, tables: &mut Vec<BlockTable>, tokens: usize) -> bool {
        let wanted = tokens.div_ceil(self.block_size_tokens);
        let missing = |table: &BlockTable| wanted.saturating_sub(table.covered());
        let lacks =
            |(group, pool): (usize, &Pool)| tables.get(group).map_or(wanted, missing) > pool.free.len();
        if self.pools.iter().enumerate().any(lacks) {
            return false;
        }
        tables.resize_with(self.pools.len(), BlockTable::default);
        for (pool, table) in self.pools.iter_mut().zip(tables) {
            for block in pool.free.drain(..missing(table)) {
                let references = &mut pool.references[block.0 as usize];
                assert!(*references == 0, "free block {block:?} is held");
                *references = 1;
                table.blocks.push(block);
            }
        }
        true
    }

    /// Gives back the blocks that no token at `position` or after it sees.
    pub(crate) fn free_unseen(&mut self, tables: &mut [BlockTable], position: usize) {
        for (pool, table) in self.pools.iter_mut().zip(tables) {
            let unseen = pool.reach.first(position) / self.block_size_tokens;
            let count = unseen.saturating_sub(table.freed).min(table.blocks.len());
            for block in table.blocks.drain(..count) {
                pool.give_back(block);
            }
            table.freed += count;
        }
    }

    /// Gives every block of a sequence back and empties its tables.
    pub(crate) fn release(&mut self, tables: &mut Vec<BlockTable>) {
        for (pool, table) in self.pools.iter_mut().zip(tables.drain(..)) {
            // Reversed, so that the tail of a sequence is handed out again before its head.
            table.blocks.into_iter().rev().for_each(|block| pool.give_back(block));
        }
    }

    /// Whether the tables have a block for every position that the tokens at `start..end` see or are at.
    pub(crate) fn cover(&self, tables: &[BlockTable], start: usize, end: usize) -> bool {
        let covers = |(pool, table): (&Pool, &BlockTable)| {
            table.freed * self.block_size_tokens <= pool.reach.first(start)
                && table.covered() * self.block_size_tokens >= end
        };
        tables.len() == self.pools.len() && self.pools.iter().zip(tables).all(covers)
    }

    /// Whether the pools agree with themselves and with the given sequences' tables: every block is either free and
    /// held by none, or held by exactly as many tables as it counts.
    pub(crate) fn is_consistent<'a>(&self, sequences: impl Iterator<Item = &'a [BlockTable]>) -> bool {
        let sequences: Vec<_> = sequences.filter(|tables| !tables.is_empty()).collect();
        let agrees = |(group, pool): (usize, &Pool)| {
            let mut held = vec![0u32; pool.references.len()];
            let blocks = sequences.iter().flat_map(|tables| &tables[group].blocks);
            blocks.for_each(|block| held[block.0 as usize] += 1);
            let mut is_free = vec![false; held.len()];
            let mut free = pool.free.iter();
            free.all(|block| !std::mem::replace(&mut is_free[block.0 as usize], true))
                && held == pool.references
                && is_free.iter().zip(&held).all(|(is_free, held)| *is_free == (*held == 0))
        };
        sequences.iter().all(|tables| tables.len() == self.pools.len())
            && self.pools.iter().enumerate().all(agrees)
    }
}

impl Pool {
    fn give_back(&mut self, block: BlockId) {
        let references = &mut self.references[block.0 as usize];
        assert!(*references > 0, "block {block:?} released twice");
        *references -= 1;
        if *references == 0 {
            self.free.push_back(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full(blocks: u32) -> PoolSize {
        PoolSize { reach: Reach::All, blocks }
    }

    #[test]
    fn growing_is_all_or_nothing() {
        let window = PoolSize { reach: Reach::Window(4), blocks: 2 };
        let mut blocks = BlockManager::new(&[full(3), window], 4);
        let mut tables = Vec::new();
        assert!(blocks.grow(&mut tables, 5));
        assert_eq!(blocks.used(), 4);
        // The second group has no third block.
        assert!(!blocks.grow(&mut tables, 9));
        assert_eq!(blocks.used(), 4);
        blocks.free_unseen(&mut tables, 7);
        assert!(blocks.grow(&mut tables, 9));
        assert!(blocks.is_consistent([tables.as_slice()].into_iter()));
        blocks.release(&mut tables);
        assert_eq!(blocks.used(), 0);
    }

    #[test]
    fn what_a_window_has_passed_is_free_again_and_a_full_group_keeps_all() {
        let window = PoolSize { reach: Reach::Window(6), blocks: 8 };
        let chunk = PoolSize { reach: Reach::Chunk(8), blocks: 8 };
        let mut blocks = BlockManager::new(&[full(8), window, chunk], 4);
        let mut tables = Vec::new();
        assert!(blocks.grow(&mut tables, 20));
        // The token at 17 sees 12..=17 in the window, 16..=17 in its chunk.
        blocks.free_unseen(&mut tables, 17);
        assert_eq!([0, 1, 2].map(|group: usize| tables[group].freed()), [0, 3, 4]);
        assert_eq!([0, 1, 2].map(|group: usize| tables[group].blocks().len()), [5, 2, 1]);
        assert_eq!(tables[1].block_at(3), tables[1].blocks()[0]);
        assert!(blocks.is_consistent([tables.as_slice()].into_iter()));
    }

    #[test]
    #[should_panic(expected = "released twice")]
    fn a_double_release_is_caught() {
        let mut blocks = BlockManager::new(&[full(1)], 4);
        let mut tables = Vec::new();
        assert!(blocks.grow(&mut tables, 1));
        let mut copy = tables.clone();
        blocks.release(&mut tables);
        blocks.release(&mut copy);
    }
}
