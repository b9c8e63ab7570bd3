//! What a call may ask of a backend beyond its own answer.
//!
//! A connection that the policy allows is no wall by itself: a URL in a message, a tool that the provider runs, or
//! state that it keeps make the backend dial or remember on the caller's behalf. Each kind has a rule of its own. To
//! recognise them in a call is the task of the wire formats; here is only what a workflow says about them.

use crate::locality::EgressMode;

/// What happens to one kind of content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContentRule {
    /// A call that has it is refused.
    Refuse,
    /// It goes to the destination as it is.
    Pass,
}

impl ContentRule {
    /// Both rules, the stricter one first.
    pub(crate) const ALL: [Self; 2] = [Self::Refuse, Self::Pass];

    /// Returns the word used in the policy file and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Refuse => "refuse",
            Self::Pass => "pass",
        }
    }
}

/// What a workflow says about content that makes others dial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ContentRules {
    /// URLs that the backend would fetch: images, files, audio and video that are not in the call itself.
    pub urls: ContentRule,
    /// Tools that the backend runs: web search, code interpreters, computer use, MCP servers.
    pub hosted_tools: ContentRule,
    /// What the backend keeps or kept: stored answers, conversations, prompts and files by their ids.
    pub stored_state: ContentRule,
    /// Fields and kinds of parts that the call's format does not know here, and whose meaning only the backend knows.
    pub unknown_fields: ContentRule,
}

impl ContentRules {
    /// Nothing passes: what holds in a sealed workflow, always.
    pub const REFUSE: Self = Self::all(ContentRule::Refuse);
    /// Everything passes.
    pub const PASS: Self = Self::all(ContentRule::Pass);

    const fn all(rule: ContentRule) -> Self {
        Self { urls: rule, hosted_tools: rule, stored_state: rule, unknown_fields: rule }
    }

    /// Returns what holds in a workflow that says nothing about content.
    pub(crate) fn of(mode: EgressMode) -> Self {
        match mode {
            EgressMode::Sealed => Self::REFUSE,
            EgressMode::Allowlist | EgressMode::Hosted => Self::PASS,
        }
    }
}
