//! The blocks of one group of layers: how many tables hold each, what each is known to hold, and which are free.
//!
//! A free block whose contents have a key is kept as it is until somebody needs the room, the one that was given back
//! longest ago first (LRU); one without goes first of all.

use std::collections::BTreeMap;
use std::sync::Arc;

use hashbrown::HashMap;
use kernels::Reach;

use super::prefix::{BlockHash, BlockKey};

/// A page of one group's KV cache, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BlockId(pub(crate) u32);

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) reach: Reach,
    blocks: Vec<Block>,
    /// Blocks whose contents can be found, by the key's hash.
    found: HashMap<BlockHash, BlockId>,
    /// Free blocks without a key.
    empty: Vec<BlockId>,
    /// Free blocks with a key, by when they were given back.
    kept: BTreeMap<u64, BlockId>,
    /// Counts what is given back.
    returns: u64,
}

#[derive(Debug, Default)]
struct Block {
    /// Tables that hold it.
    references: u32,
    /// What it holds, once all of it is written.
    key: Option<Arc<BlockKey>>,
    /// When it was given back; its place in `kept`.
    returned: u64,
}

impl Pool {
    pub(super) fn new(reach: Reach, blocks: u32) -> Self {
        Self {
            reach,
            blocks: (0..blocks).map(|_| Block::default()).collect(),
            found: HashMap::new(),
            empty: (0..blocks).rev().map(BlockId).collect(),
            kept: BTreeMap::new(),
            returns: 0,
        }
    }

    pub(super) fn total(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn free(&self) -> usize {
        self.empty.len() + self.kept.len()
    }

    /// Free blocks whose contents can still be found.
    pub(super) fn kept(&self) -> usize {
        self.kept.len()
    }

    /// A block to write to, if one is free. What it held is forgotten.
    pub(super) fn take(&mut self) -> Option<BlockId> {
        let id = match self.empty.pop() {
            Some(id) => id,
            None => self.kept.pop_first()?.1,
        };
        let block = &mut self.blocks[id.0 as usize];
        assert!(block.references == 0, "free block {id:?} is held");
        if let Some(key) = block.key.take() {
            self.found.remove(&key.hash);
        }
        block.references = 1;
        Some(id)
    }

    /// The block that holds what `key` names.
    pub(super) fn find(&self, key: &BlockKey) -> Option<BlockId> {
        let id = *self.found.get(&key.hash)?;
        let held = self.blocks[id.0 as usize].key.as_ref().expect("a block that is found has a key");
        (held.tokens == key.tokens).then_some(id)
    }

    /// Counts one more table that holds a block that was found.
    pub(super) fn hold(&mut self, id: BlockId) {
        let block = &mut self.blocks[id.0 as usize];
        if block.references == 0 {
            self.kept.remove(&block.returned);
        }
        block.references += 1;
    }

    /// Makes a block that is full and written findable; if another one holds the same already, that one is found.
    pub(super) fn name(&mut self, id: BlockId, key: &Arc<BlockKey>) {
        let block = &mut self.blocks[id.0 as usize];
        assert!(block.references > 0, "block {id:?} is written by nobody");
        if block.key.is_none() && !self.found.contains_key(&key.hash) {
            block.key = Some(Arc::clone(key));
            self.found.insert(key.hash, id);
        }
    }

    pub(super) fn give_back(&mut self, id: BlockId) {
        let block = &mut self.blocks[id.0 as usize];
        assert!(block.references > 0, "block {id:?} released twice");
        block.references -= 1;
        if block.references > 0 {
            return;
        }
        if block.key.is_some() {
            self.returns += 1;
            block.returned = self.returns;
            self.kept.insert(self.returns, id);
        } else {
            self.empty.push(id);
        }
    }

    /// Whether it agrees with itself and with `held`, the blocks of all tables: each block is held by as many tables as
    /// it counts, or free in one place; who is held twice has a key, and whoever has one is found by it.
    pub(super) fn is_consistent<'a>(&self, held: impl Iterator<Item = &'a BlockId>) -> bool {
        let mut counts = vec![0_u32; self.total()];
        held.for_each(|id| counts[id.0 as usize] += 1);
        let mut free = vec![0_u32; self.total()];
        self.empty.iter().chain(self.kept.values()).for_each(|id| free[id.0 as usize] += 1);
        let agrees = |(index, block): (usize, &Block)| {
            let id = BlockId(index as u32);
            let is_found = block.key.as_ref().map(|key| self.found.get(&key.hash) == Some(&id));
            let is_kept = self.kept.get(&block.returned) == Some(&id);
            block.references == counts[index]
                && free[index] == u32::from(counts[index] == 0)
                && is_found != Some(false)
                && (counts[index] < 2 || is_found.is_some())
                && is_kept == (counts[index] == 0 && is_found.is_some())
        };
        let keys = self.blocks.iter().filter(|block| block.key.is_some()).count();
        self.found.len() == keys && self.blocks.iter().enumerate().all(agrees)
    }
}
