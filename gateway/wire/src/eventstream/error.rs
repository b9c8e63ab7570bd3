//! Why bytes are no event stream.

/// Why a stream of messages cannot be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventStreamError {
    /// One message is larger than the reader was allowed to hold.
    #[error("a message of the event stream is larger than {limit_bytes} bytes")]
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// The bytes end inside a message.
    #[error("the event stream ends inside a message")]
    Truncated,
    /// The prelude or the whole message does not have the checksum that it claims.
    #[error("a message of the event stream has a wrong checksum")]
    Checksum,
    /// The lengths in a message contradict each other, although its checksums are right.
    #[error("the lengths in a message of the event stream contradict each other")]
    Lengths,
    /// A header has a type that the specification does not know, or a text that is not UTF-8.
    #[error("a message of the event stream has a header that cannot be read")]
    Header,
    /// A message has more headers than any real one.
    #[error("a message of the event stream has more than {limit} headers")]
    TooManyHeaders {
        /// The limit.
        limit: usize,
    },
}
