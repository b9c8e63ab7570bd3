//! What holds the calls of one conversation together, and how much of a prompt a replica has seen before.
//!
//! A conversation is known by its name where the client gives one (a session header, a prompt cache key), and
//! otherwise by its beginning: an agent sends its instructions and the first message again with every turn. Either way
//! the owner (workflow and caller) is part of it, so two callers with the same name share nothing.

use crate::chance;

/// Lengths at which a prompt is hashed: these bytes, and twice as many each time.
const RUNG_BYTES: usize = 512;
/// How many of them there are; the last is at 1 MiB.
const RUNGS_MAX: usize = 12;

/// The key of a conversation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Conversation(u64);

impl Conversation {
    /// Makes the key of a conversation that the client names.
    pub fn named(owner: &[u8], name: &[u8]) -> Self {
        Self(chance::hash(chance::hash(1, owner), name))
    }

    /// Makes the key of a conversation that begins with `opening`, such as the instructions and the first message.
    pub fn opening<'a>(owner: &[u8], opening: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let owner = chance::hash(2, owner);
        Self(opening.into_iter().fold(owner, chance::hash))
    }

    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

/// The beginnings of a prompt, as hashes of its first 512, 1024, 2048, … bytes.
///
/// Two prompts share a rung where all their bytes up to it are the same. A replica is asked for the highest rung that
/// it has seen, so a shared beginning is known within a factor of two, at the cost of at most twelve numbers for a
/// prompt of any length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Prefix {
    rungs: [u64; RUNGS_MAX],
    count: usize,
}

impl Prefix {
    /// That of a prompt too short to be worth it.
    pub const EMPTY: Self = Self { rungs: [0; RUNGS_MAX], count: 0 };

    /// Hashes the beginnings of `prompt`. Prompts of different owners have no rung in common.
    pub fn of(owner: &[u8], prompt: &[u8]) -> Self {
        let mut prefix = Self::default();
        let (mut state, mut from, mut to) = (chance::hash(3, owner), 0, RUNG_BYTES);
        while prefix.count < RUNGS_MAX && to <= prompt.len() {
            state = chance::hash(state, &prompt[from..to]);
            prefix.rungs[prefix.count] = state;
            prefix.count += 1;
            (from, to) = (to, to * 2);
        }
        prefix
    }

    pub(crate) fn rungs(&self) -> &[u64] {
        &self.rungs[..self.count]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_belongs_to_its_owner() {
        assert_eq!(Conversation::named(b"w/k", b"s"), Conversation::named(b"w/k", b"s"));
        assert_ne!(Conversation::named(b"w/k", b"s"), Conversation::named(b"w/l", b"s"));
        assert_ne!(Conversation::named(b"w/k", b"s"), Conversation::named(b"w/", b"ks"));
    }

    #[test]
    fn parts_of_an_opening_do_not_run_together() {
        let key = |parts: [&'static [u8]; 2]| Conversation::opening(b"o", parts);
        assert_ne!(key([b"ab", b"c"]), key([b"a", b"bc"]));
        assert_eq!(key([b"ab", b"c"]), key([b"ab", b"c"]));
    }

    #[test]
    fn prompts_share_the_rungs_below_their_first_difference() {
        let one = vec![b'x'; 5000];
        let mut other = one.clone();
        other[1500] = b'y';
        let (one, other) = (Prefix::of(b"o", &one), Prefix::of(b"o", &other));
        assert_eq!(one.rungs().len(), 4, "512, 1024, 2048, 4096");
        let shared = one.rungs().iter().zip(other.rungs()).take_while(|(a, b)| a == b).count();
        assert_eq!(shared, 2, "they differ before byte 2048");
    }

    #[test]
    fn a_prompt_that_grows_keeps_its_rungs() {
        let long = vec![b'x'; 3_000_000];
        let (short, long) = (Prefix::of(b"o", &long[..9000]), Prefix::of(b"o", &long));
        assert_eq!(long.rungs().len(), RUNGS_MAX);
        assert!(long.rungs().starts_with(short.rungs()));
    }
}
