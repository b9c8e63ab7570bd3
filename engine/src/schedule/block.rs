//! Blocks of KV cache: who holds which, and which are free.
//!
//! Pure bookkeeping over block numbers. The memory itself is `kernels::KvCache`; nothing here reads or writes
//! it. Layers that see equally far form a group with a pool of its own: a full layer needs every token of a
//! sequence, a sliding one only the last few. A sequence holds a block table for each group, its blocks in position
//! order; the pool counts how many tables hold each block.
//!
//! Sequences that begin with the same tokens share full blocks (prefix cache). A block that is shared is never written
//! to: only what lies behind the prefix is, in blocks of the sequence's own.

use std::sync::Arc;

use kernels::Reach;

pub(crate) use super::pool::BlockId;
use super::pool::Pool;
use super::prefix::BlockKey;

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

impl BlockManager {
    /// Pools of free blocks of `block_size_tokens` each.
    pub(crate) fn new(sizes: &[PoolSize], block_size_tokens: usize) -> Self {
        assert!(block_size_tokens > 0, "a block holds at least one token");
        let pool = |size: &PoolSize| Pool::new(size.reach, size.blocks);
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
        self.pools.iter().map(Pool::total).sum()
    }

    /// Blocks that some sequence holds.
    pub(crate) fn used(&self) -> usize {
        self.total() - self.pools.iter().map(Pool::free).sum::<usize>()
    }

    /// Blocks that nobody holds and that can still be found by what they hold.
    pub(crate) fn kept(&self) -> usize {
        self.pools.iter().map(Pool::kept).sum()
    }

    /// Fills the empty tables of a sequence with blocks that hold its beginning, and returns how many tokens that is.
    /// `keys` name its full blocks, those of which at least one token is left to be computed.
    ///
    /// It is the longest beginning of which every group still has what the next token sees.
    pub(crate) fn adopt(&mut self, tables: &mut Vec<BlockTable>, keys: &[Arc<BlockKey>]) -> usize {
        assert!(tables.is_empty(), "a sequence looks for its beginning before it has one");
        let Some(blocks) = self.longest(keys) else { return 0 };
        for pool in &mut self.pools {
            let freed = pool.reach.first(blocks * self.block_size_tokens) / self.block_size_tokens;
            let mut table = BlockTable { freed, blocks: Vec::with_capacity(blocks - freed) };
            for key in &keys[freed..blocks] {
                let block = pool.find(key).expect("it was found a moment ago");
                pool.hold(block);
                table.blocks.push(block);
            }
            tables.push(table);
        }
        blocks * self.block_size_tokens
    }

    /// The greatest number of leading blocks, at least 1, of which each group has what a token after them sees.
    fn longest(&self, keys: &[Arc<BlockKey>]) -> Option<usize> {
        // A group that sees everything ends the search where it lacks a block.
        let whole = self.pools.iter().filter(|pool| pool.reach == Reach::All);
        let held = |pool: &Pool| keys.iter().take_while(|key| pool.find(key).is_some()).count();
        let end = whole.map(held).min().unwrap_or(keys.len());
        let mut fitting = vec![true; end];
        for pool in self.pools.iter().filter(|pool| pool.reach != Reach::All) {
            let mut run = 0;
            for (index, key) in keys[..end].iter().enumerate() {
                run = if pool.find(key).is_some() { run + 1 } else { 0 };
                let first = pool.reach.first((index + 1) * self.block_size_tokens) / self.block_size_tokens;
                fitting[index] &= index + 1 - first <= run;
            }
        }
        fitting.iter().rposition(|fits| *fits).map(|index| index + 1)
    }

    /// Makes the blocks findable that a sequence has filled: `keys` name its full blocks, of which those from `first` on
    /// are new.
    pub(crate) fn name(&mut self, tables: &[BlockTable], keys: &[Arc<BlockKey>], first: usize) {
        for (pool, table) in self.pools.iter_mut().zip(tables) {
            for (index, key) in keys.iter().enumerate().skip(first.max(table.freed)) {
                pool.name(table.block_at(index), key);
            }
        }
    }

    /// Grows each group's table until it covers `tokens` tokens, or changes nothing and returns false.
    pub(crate) fn grow(&mut self, tables: &mut Vec<BlockTable>, tokens: usize) -> bool {
        let wanted = tokens.div_ceil(self.block_size_tokens);
        let missing = |table: &BlockTable| wanted.saturating_sub(table.covered());
        let lacks = |(group, pool): (usize, &Pool)| tables.get(group).map_or(wanted, missing) > pool.free();
        if self.pools.iter().enumerate().any(lacks) {
            return false;
        }
        tables.resize_with(self.pools.len(), BlockTable::default);
        for (pool, table) in self.pools.iter_mut().zip(tables) {
            for _ in 0..missing(table) {
                table.blocks.push(pool.take().expect("enough of them are free"));
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

    /// Whether the pools agree with themselves and with the given sequences' tables.
    pub(crate) fn is_consistent<'a>(&self, sequences: impl Iterator<Item = &'a [BlockTable]>) -> bool {
        let sequences: Vec<_> = sequences.filter(|tables| !tables.is_empty()).collect();
        let agrees = |(group, pool): (usize, &Pool)| {
            pool.is_consistent(sequences.iter().flat_map(|tables| &tables[group].blocks))
        };
        sequences.iter().all(|tables| tables.len() == self.pools.len())
            && self.pools.iter().enumerate().all(agrees)
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
