//! What can be wrong with a stored record.

/// Why a line is not the next record of the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// The line does not end in an `h` member of the right form.
    #[error("the line carries no chain hash")]
    Unsealed,
    /// The stored bytes do not give the hash that the line carries.
    #[error("the line was altered: its bytes do not match its hash")]
    Altered,
    /// The line is whole, but names another predecessor than the line before it.
    #[error("records were removed, repeated or reordered before this line: it does not continue the chain")]
    Unchained,
    /// The chain holds, but the sequence number is not the next one.
    #[error("sequence number is {found}, expected {expected}")]
    Sequence {
        /// The number that follows the record before.
        expected: u64,
        /// The number on the line.
        found: u64,
    },
    /// The record belongs to another boot than its file's name says.
    #[error("record of boot {0} stands in a file of another boot")]
    Boot(u32),
    /// The line is no record of a version that this program reads.
    #[error("the line is not an audit record of version 1")]
    Unreadable,
    /// A line without its newline, although more records follow in a later file.
    #[error("the line is incomplete, yet later records exist")]
    Incomplete,
    /// The line is longer than any record can be.
    #[error("the line is longer than {max_bytes} bytes")]
    TooLong {
        /// The most bytes that a line may have.
        max_bytes: usize,
    },
}
