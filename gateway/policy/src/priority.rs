//! How urgent the work of a workflow is, where the gateway's own engine serves it.

/// Whether somebody waits for the answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// Somebody waits: before batch work, which makes room.
    #[default]
    Interactive,
    /// Nobody waits: what is left of the engine.
    Batch,
}

impl Priority {
    /// Both, the more urgent one first.
    pub(crate) const ALL: [Self; 2] = [Self::Interactive, Self::Batch];

    /// Returns the word used in the policy file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Batch => "batch",
        }
    }
}
