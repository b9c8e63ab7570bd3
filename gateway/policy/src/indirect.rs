//! What calls ask of a backend beyond its own answer, one by one: the code, the rule that is asked, and what a refused
//! caller hears.

use crate::content::{ContentRule, ContentRules};
use crate::workflow::Workflow;

/// One thing in a call that makes a backend act, or may.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Indirect {
    /// What it makes the backend do.
    pub kind: IndirectKind,
    /// Where it stands in the request, such as `tools[2]`; empty if nobody knows, as in a test of a policy.
    pub path: String,
}

/// What a backend would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IndirectKind {
    /// Fetch bytes from a URL.
    RemoteUrl,
    /// Read something that was given to it earlier.
    FileId,
    /// Run a tool of its own.
    HostedTool,
    /// Go to a place that the caller names.
    CallerDestination,
    /// Keep the exchange, or look into one that it kept.
    StoredState,
    /// What only it knows: a field that no table has.
    UnknownField,
    /// What only it knows: a part of a type that no table has.
    UnknownPart,
    /// What only it knows: a tool of a type that no table has.
    UnknownTool,
}

impl IndirectKind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::RemoteUrl,
        Self::FileId,
        Self::HostedTool,
        Self::CallerDestination,
        Self::StoredState,
        Self::UnknownField,
        Self::UnknownPart,
        Self::UnknownTool,
    ];

    /// Returns the kind that is refused with `code`.
    pub fn of_code(code: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// Returns the code of a refusal, for the caller, records and metric labels.
    pub fn code(self) -> &'static str {
        match self {
            Self::RemoteUrl => "content.remote_url",
            Self::FileId => "content.file_id",
            Self::HostedTool => "content.hosted_tool",
            Self::CallerDestination => "content.caller_destination",
            Self::StoredState => "content.stored_state",
            Self::UnknownField => "content.unknown_field",
            Self::UnknownPart => "content.unknown_part",
            Self::UnknownTool => "content.unknown_tool",
        }
    }

    /// Returns the word for the kind: its code without the family.
    pub fn as_str(self) -> &'static str {
        let code = self.code();
        code.split_once('.').map_or(code, |(_, word)| word)
    }

    fn rule(self, rules: ContentRules) -> ContentRule {
        match self {
            Self::RemoteUrl | Self::CallerDestination => rules.urls,
            Self::HostedTool => rules.hosted_tools,
            Self::FileId | Self::StoredState => rules.stored_state,
            Self::UnknownField | Self::UnknownPart | Self::UnknownTool => rules.unknown_fields,
        }
    }

    /// What is wrong with it, and what to do instead.
    fn reason(self) -> [&'static str; 2] {
        match self {
            Self::RemoteUrl => [
                "is a URL that the model's server would fetch",
                "send the bytes themselves: base64 or a `data:` URL; in a schema, the definition",
            ],
            Self::FileId => [
                "refers to something that was given to a provider before",
                "send its content with the request",
            ],
            Self::HostedTool => [
                "is a tool that the model's server runs, or what one left",
                "leave it out, or offer a tool that the client runs",
            ],
            Self::CallerDestination => [
                "names a place to go to, or a key for it",
                "leave it out: where calls go is for the policy to say",
            ],
            Self::StoredState => [
                "has the model's server keep the conversation, or go on from one that it kept",
                "leave it out and send the whole conversation",
            ],
            Self::UnknownField => {
                ["is a field that is not known here, and the model's server may act on it", "leave it out"]
            }
            Self::UnknownPart => [
                "is content of a type that is not known here, and the model's server may act on it",
                "send text, or a known type with its bytes inside",
            ],
            Self::UnknownTool => [
                "is a tool of a type that is not known here, and the model's server may run it",
                "leave it out, or offer a function that the client runs",
            ],
        }
    }
}

impl ContentRules {
    /// Returns whether there is something that is refused; where there is not, nobody has to look for it.
    pub fn refuse_anything(self) -> bool {
        self != Self::PASS
    }

    /// Returns the first of `content` that is refused.
    pub(crate) fn refused(self, content: &[Indirect]) -> Option<&Indirect> {
        content.iter().find(|indirect| indirect.kind.rule(self) == ContentRule::Refuse)
    }
}

/// What a caller hears whose call has `indirect`.
pub(crate) fn message(workflow: &Workflow, indirect: &Indirect) -> String {
    let [what, instead] = indirect.kind.reason();
    let place = if indirect.path.is_empty() { "the request" } else { &indirect.path };
    format!("`{place}` {what}, which the workflow `{}` does not allow; {instead}", workflow.name)
}
