//! Which keys a token sees. Attention asks it for scores, the block manager for what may be freed.

/// The keys that the token at a position sees: itself, and those before it within the reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Everything before it.
    All,
    /// The last this many, itself included (sliding window).
    Window(u32),
    /// Those in its own chunk; chunks of this many positions begin at multiples of it (Llama 4).
    Chunk(u32),
}

impl Reach {
    /// The first position that the token at `position` sees. It never falls as `position` rises.
    pub fn first(self, position: usize) -> usize {
        match self {
            Self::All => 0,
            Self::Window(keys) => (position + 1).saturating_sub(keys as usize),
            Self::Chunk(keys) => position - position % keys.max(1) as usize,
        }
    }

    /// The most positions that one token sees; `None` grows with the sequence.
    pub fn keys_max(self) -> Option<usize> {
        match self {
            Self::All => None,
            Self::Window(keys) | Self::Chunk(keys) => Some(keys as usize),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_position_follows_the_kind() {
        assert_eq!([0, 3, 4, 9].map(|p| Reach::Window(4).first(p)), [0, 0, 1, 6]);
        assert_eq!([0, 3, 4, 9].map(|p| Reach::Chunk(4).first(p)), [0, 0, 4, 8]);
        assert_eq!([0, 3, 4, 9].map(|p| Reach::All.first(p)), [0; 4]);
    }
}
