//! The hash chain: how a line is bound to the line before it.
//!
//! `leaf = SHA-256(0x00 || prev || line without its h member)`, and `prev` is the leaf of the record before
//! (32 zero bytes for the first record of a directory). `h` is the last member of the line and has a fixed
//! length, so a reader cuts it off and hashes the stored bytes as they are: nothing is ever serialised
//! again to be checked, and a verifier in any language needs no JSON writer.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::fault::Fault;

/// Separates leaf hashes from the hashes of tree nodes, as RFC 6962 does.
const LEAF_PREFIX: [u8; 1] = [0x00];

const BEFORE_PREV: &[u8] = br#","h":{"prev":""#;
const BEFORE_LEAF: &[u8] = br#"","leaf":""#;
const AFTER_LEAF: &[u8] = br#""}}"#;

const HEX_BYTES: usize = 64;
const PREV_AT: usize = BEFORE_PREV.len();
const LEAF_AT: usize = PREV_AT + HEX_BYTES + BEFORE_LEAF.len();
/// Length of everything that [`seal`] appends, the closing brace of the record included.
const SEAL_BYTES: usize = LEAF_AT + HEX_BYTES + AFTER_LEAF.len();

/// A SHA-256 value, written as 64 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hash([u8; 32]);

impl Hash {
    /// What the first record of a directory names as its predecessor.
    pub(crate) const ZERO: Self = Self([0; 32]);

    fn of_leaf(prev: Self, open_line: &[u8]) -> Self {
        let hash = Sha256::new().chain_update(LEAF_PREFIX).chain_update(prev.0).chain_update(open_line);
        Self(hash.chain_update(b"}").finalize().into())
    }

    fn to_hex(self) -> [u8; HEX_BYTES] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; HEX_BYTES];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 0x0f)];
        }
        hex
    }

    /// Reads lower-case digits only: a hash has one spelling, or a changed letter case would go unseen.
    fn from_hex(hex: &[u8]) -> Option<Self> {
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(hex.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_hex()))
    }
}

fn digit(hex: u8) -> Option<u8> {
    match hex {
        b'0'..=b'9' => Some(hex - b'0'),
        b'a'..=b'f' => Some(hex - b'a' + 10),
        _ => None,
    }
}

/// The two hashes that a sealed line carries, already found true of its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) prev: Hash,
    pub(crate) leaf: Hash,
}

/// Appends the `h` member to the JSON object that starts at `start` and ends the buffer.
///
/// Returns the leaf, which the next record names as its `prev`. Adds no newline.
///
/// # Panics
/// Panics if the buffer does not end in `}`: only this crate's own objects are sealed.
pub(crate) fn seal(prev: Hash, buffer: &mut Vec<u8>, start: usize) -> Hash {
    assert_eq!(buffer.pop(), Some(b'}'), "only a JSON object can be sealed");
    let leaf = Hash::of_leaf(prev, &buffer[start..]);
    buffer.extend_from_slice(BEFORE_PREV);
    buffer.extend_from_slice(&prev.to_hex());
    buffer.extend_from_slice(BEFORE_LEAF);
    buffer.extend_from_slice(&leaf.to_hex());
    buffer.extend_from_slice(AFTER_LEAF);
    leaf
}

/// Reads the `h` member of a line without its newline, and checks the leaf against the bytes.
///
/// Whether `prev` is the leaf of the line before is for the caller to check, who has seen that line.
///
/// # Errors
/// [`Fault::Unsealed`] if the line does not end in an `h` member, [`Fault::Altered`] if its bytes do not
/// give the leaf that it carries.
pub(crate) fn check(line: &[u8]) -> Result<Link, Fault> {
    let split = line.len().checked_sub(SEAL_BYTES).ok_or(Fault::Unsealed)?;
    let (open_line, seal) = line.split_at(split);
    let prev = &seal[PREV_AT..PREV_AT + HEX_BYTES];
    let leaf = &seal[LEAF_AT..LEAF_AT + HEX_BYTES];
    let framed = seal.starts_with(BEFORE_PREV)
        && seal[PREV_AT + HEX_BYTES..].starts_with(BEFORE_LEAF)
        && seal.ends_with(AFTER_LEAF);
    if !framed {
        return Err(Fault::Unsealed);
    }
    let prev = Hash::from_hex(prev).ok_or(Fault::Unsealed)?;
    let leaf = Hash::from_hex(leaf).ok_or(Fault::Unsealed)?;
    if Hash::of_leaf(prev, open_line) == leaf { Ok(Link { prev, leaf }) } else { Err(Fault::Altered) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_line_is_the_documented_formula() {
        let mut line = br#"{"v":1}"#.to_vec();
        seal(Hash::ZERO, &mut line, 0);
        // printf '\0%.0s' {1..33} | cat - <(printf '{"v":1}') | sha256sum
        let expected = concat!(
            r#"{"v":1,"h":{"prev":"0000000000000000000000000000000000000000000000000000000000000000","#,
            r#""leaf":"470ec96a6e451a7e1403eb5c9230af72cbac8ab460b584c21e1516a623c030d5"}}"#
        );
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }

    #[test]
    fn every_changed_byte_of_a_line_is_noticed() {
        let mut line = br#"{"v":1,"note":"abc"}"#.to_vec();
        let leaf = seal(Hash::ZERO, &mut line, 0);
        assert_eq!(check(&line), Ok(Link { prev: Hash::ZERO, leaf }));
        for at in 0..line.len() {
            for bit in 0..8 {
                let mut changed = line.clone();
                changed[at] ^= 1 << bit;
                assert!(check(&changed).is_err(), "byte {at}, bit {bit}");
            }
        }
    }

    #[test]
    fn a_line_shorter_than_its_seal_is_refused() {
        for length in 0..SEAL_BYTES {
            assert_eq!(check(&vec![b'}'; length]), Err(Fault::Unsealed));
        }
    }
}
