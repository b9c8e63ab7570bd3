//! How far the stream of a provider has come.

/// How far a stream has come; it never goes back.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Nothing has come.
    #[default]
    Silent,
    /// The answer has begun.
    Begun,
    /// The answer is complete; only usage may follow.
    Finished,
    /// The provider said that nothing follows.
    Ended,
}
