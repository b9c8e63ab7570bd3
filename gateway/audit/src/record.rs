//! The facts that a record states, as the server hands them over.
//!
//! Plain text, whole numbers and nothing else: no floats, so that any language reads the same values, and
//! no field that could hold a prompt or a completion. Absent facts are absent members, never zeros.

use serde::{Serialize, Serializer};

use crate::egress::{DialId, EgressClose, EgressDecision};
use crate::process::{Process, ProcessEnd, Selftest};

/// Text from outside, kept to [`Text::BYTES_MAX`] bytes so that a record has a known largest size.
///
/// Longer text is cut and says so: it ends in `…(+N bytes)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Text(String);

impl Text {
    /// The most bytes of the original that are kept.
    pub const BYTES_MAX: usize = 256;

    /// Returns the text as it is recorded.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        if text.len() <= Self::BYTES_MAX {
            return Self(text.to_owned());
        }
        let fits = |&end: &usize| end <= Self::BYTES_MAX;
        let kept = text.char_indices().map(|(start, _)| start).take_while(fits).last().unwrap_or(0);
        Self(format!("{}…(+{} bytes)", &text[..kept], text.len() - kept))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        if text.len() <= Self::BYTES_MAX { Self(text) } else { Self::from(text.as_str()) }
    }
}

/// The authenticated caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Caller {
    /// How the caller was identified, such as `loopback` or `api_key`.
    pub kind: Text,
    /// The identity that the policy knows, which stays while keys come and go; never a key.
    pub id: Text,
    /// The id of the key that was shown, where it is not the caller's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Text>,
}

/// The policy that decided, and where in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PolicyRef {
    /// Digest of the compiled policy, in hex.
    pub digest: Text,
    /// Path of the rule that decided, such as `workflows.docs.route[1]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<Text>,
}

/// What is known of the request without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RequestFacts {
    /// The path that was called, such as `/v1/chat/completions`.
    pub endpoint: Text,
    /// The `model` that the caller wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_requested: Option<Text>,
    /// Size of the request body.
    pub bytes: u64,
    /// Input tokens as estimated for the decision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_est: Option<u64>,
    /// Number of tools that the request offers to the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<u64>,
}

/// Where a call goes, or which destination answered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Route {
    /// Name of the model in the policy.
    pub model: Text,
    /// Name of the provider in the policy.
    pub provider: Text,
    /// `local`, `dedicated` or `hosted`.
    pub locality: Text,
    /// 1 for the first destination tried, 2 for the first fallback, and so on.
    pub attempt: u32,
    /// Whether this is a copy for comparison, whose answer nobody gets; absent if not.
    #[serde(skip_serializing_if = "is_false")]
    pub shadow: bool,
    /// The dial whose connection carried this attempt, as whoever opened it names it on its own record; absent if
    /// the destination is in this process, or nothing was connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dial: Option<DialId>,
    /// Names of the request's fields that have no place in this destination's format; absent if all have one.
    ///
    /// The first [`Route::DROPPED_MAX`] are written, and behind them how many more there are.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "names")]
    pub dropped: Vec<Text>,
}

impl Route {
    /// The most names of dropped fields on one record, so that a record keeps its largest size.
    pub const DROPPED_MAX: usize = 16;
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_false(value: &bool) -> bool {
    !*value
}

pub(crate) fn names<S: Serializer>(names: &[Text], serializer: S) -> Result<S::Ok, S::Error> {
    let more = names.len().saturating_sub(Route::DROPPED_MAX);
    let note = (more > 0).then(|| Text(format!("…(+{more} more)")));
    serializer.collect_seq(names.iter().take(Route::DROPPED_MAX).chain(&note))
}

/// A call that the policy allowed, before any of its bytes leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intent {
    /// Name of the workflow.
    pub workflow: Text,
    /// Who answers for the workflow.
    pub owner: Text,
    /// Who called.
    pub caller: Caller,
    /// Which policy and rule allowed it.
    pub policy: PolicyRef,
    /// What was asked.
    pub request: RequestFacts,
    /// The first destination; the result names the one that answered.
    pub route: Route,
}

/// Token counts of one call; what the provider did not report stays absent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Tokens {
    /// Tokens read.
    #[serde(rename = "in", skip_serializing_if = "Option::is_none")]
    pub input: Option<u64>,
    /// Tokens written, reasoning included.
    #[serde(rename = "out", skip_serializing_if = "Option::is_none")]
    pub output: Option<u64>,
    /// Tokens read from a cache, part of `input`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cached: Option<u64>,
    /// Tokens spent on reasoning, part of `output`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<u64>,
}

/// The connections of a call, apart from the one that answered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Carried {
    /// Dials of the attempts before the one that answered, so that no connection stays unexplained. The last
    /// [`Carried::EARLIER_MAX`] are written.
    #[serde(rename = "dials_earlier", skip_serializing_if = "Vec::is_empty", serialize_with = "newest")]
    pub earlier: Vec<DialId>,
    /// Size of the body that was sent to the destination that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_sent: Option<u64>,
    /// Size of the body that came back from it, as far as it was read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_received: Option<u64>,
}

impl Carried {
    /// The most earlier dials on one record, more than any route has destinations; a record keeps its largest size.
    pub const EARLIER_MAX: usize = 256;
}

fn newest<S: Serializer>(dials: &[DialId], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(&dials[dials.len().saturating_sub(Carried::EARLIER_MAX)..])
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub enum Ending {
    /// The answer is whole.
    Completed,
    /// The call failed on our side or upstream.
    Failed {
        /// The failure's closed code, such as `egress.timeout_idle`.
        code: Text,
    },
    /// The call was dropped before its end, as when the client goes away.
    Aborted,
}

/// The result of a call; exactly one follows each intent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// How it ended.
    #[serde(flatten)]
    pub ending: Ending,
    /// HTTP status that the client got.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The model's reason to stop, such as `stop` or `tool_calls`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finish: Option<Text>,
    /// The name that the provider gave to the exchange, for asking it about the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_request_id: Option<Text>,
    /// What was counted.
    pub tokens: Tokens,
    /// What went over the network for it.
    #[serde(flatten)]
    pub carried: Carried,
    /// Time to the first token, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttft_ms: Option<u64>,
    /// Time from arrival to end, in milliseconds.
    pub dur_ms: u64,
    /// The destination that answered; it stands beside the result, not inside it.
    #[serde(skip)]
    pub route: Option<Route>,
}

/// A call that the policy refused: one record, because nothing is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The refusal's closed code, such as `unknown_model`.
    pub code: Text,
    /// Name of the workflow, if one was selected before the refusal.
    pub workflow: Option<Text>,
    /// Who called.
    pub caller: Caller,
    /// Which policy, and rule if one matched, refused it.
    pub policy: PolicyRef,
    /// What was asked.
    pub request: RequestFacts,
}

/// A policy and where it came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Activation {
    /// Digest of the compiled policy, in hex. On the record it stands where calls name their policy.
    #[serde(skip)]
    pub digest: Text,
    /// Digest of the policy that it replaces; absent at the start of a process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_digest: Option<Text>,
    /// The file that it was read from.
    pub source: Text,
    /// Who signed it, where that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Text>,
    /// What changes, in short.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Text>,
}

/// What became of a model of our own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModelState {
    /// Name of the model in the policy.
    pub model: Text,
    /// The state before, such as `ready`.
    pub from: Text,
    /// The state now.
    pub to: Text,
    /// Why, if nobody asked for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Text>,
}

/// An event that is no call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlEvent {
    /// A policy is about to take effect.
    PolicyActivate(Activation),
    /// A policy file was not taken; the policy before it stays in force.
    PolicyReject {
        /// Digest of the files' text, in hex; absent if they could not be read.
        digest: Option<Text>,
        /// Where on the way from file to policy it failed; one of a closed set.
        stage: Text,
        /// What is wrong with it.
        message: Text,
    },
    /// A list of revocations took effect.
    RevocationsActivate {
        /// Digest of the file's text, in hex.
        digest: Text,
        /// How many entries it has.
        entries: u64,
    },
    /// A list of revocations was not taken; the list before it stays in force.
    RevocationsReject {
        /// Digest of the file's text, in hex; absent if it could not be read.
        digest: Option<Text>,
        /// What is wrong with it.
        message: Text,
    },
    /// A caller could not be identified.
    AuthnFail {
        /// The failure's closed code.
        code: Text,
        /// The path that was called.
        endpoint: Text,
        /// The peer's address as the socket gave it.
        peer: Text,
    },
    /// A call was refused by the policy.
    Denied(Denial),
    /// An attempt to open a connection is over.
    EgressDecision(EgressDecision),
    /// A connection is over.
    EgressClose(EgressClose),
    /// The escapes from a confined process were tried.
    SealSelftest(Selftest),
    /// A process of the program began.
    ProcessStart(Process),
    /// A process of the program ended.
    ProcessExit {
        /// The process.
        process: Process,
        /// How it ended.
        end: ProcessEnd,
    },
    /// A model of our own is in another state than before.
    ModelState(ModelState),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_cut_at_a_character_and_says_by_how_much() {
        let text = Text::from(format!("{}é tail", "a".repeat(Text::BYTES_MAX - 1)));
        assert_eq!(text.as_str(), format!("{}…(+7 bytes)", "a".repeat(Text::BYTES_MAX - 1)));
    }

    #[test]
    fn text_of_the_largest_size_is_kept_whole() {
        let text = "é".repeat(Text::BYTES_MAX / 2);
        assert_eq!(Text::from(text.as_str()).as_str(), text);
        assert_eq!(Text::from(text.clone()).as_str(), text);
    }
}
