//! What does not fit together, by closed codes, with examples.

use std::collections::BTreeMap;

use serde::Serialize;

/// Examples that are kept of each code; all of them are counted.
const EXAMPLES_MAX: usize = 5;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Weight {
    /// Good to know, and nothing is wrong with it.
    Note,
    /// Evidence is missing, as after a crash; what there is does not contradict itself.
    Gap,
    /// The two sides contradict each other. No crash leaves this.
    Contradiction,
}

/// What was found. The order is that of reports: the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// A connection carried more than its beginning takes, and no call names it.
    UnexplainedEgress,
    /// A call names a dial that the witness does not have.
    MissingEvidence,
    /// A call went over a connection that was opened for another workflow.
    WorkflowMismatch,
    /// A call to one provider went over a connection to another.
    ProviderMismatch,
    /// A call that began when its connection was over.
    AfterClose,
    /// A call that was over before its connection was opened.
    BeforeOpen,
    /// Calls state more bytes than their connection carried.
    BytesShort,
    /// Two connections have the same name.
    DialRepeated,
    /// A test that should have been refused was given a connection.
    SealBroken,
    /// A connection whose end was not recorded.
    NotClosed,
    /// A call names a dial that the witness may have lost in a crash.
    EvidenceLost,
    /// A connection that only a call without a result can explain.
    ResultLost,
    /// A connection that no call names, and nobody knows what it carried.
    Unmeasured,
    /// A connection, or a call's, about which more may still be written.
    InProgress,
    /// A connection that was opened and carried no call.
    Idle,
    /// A connection that asked whether an upstream works.
    Probe,
}

impl Code {
    /// Returns the code as it stands in reports for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnexplainedEgress => "unexplained_egress",
            Self::MissingEvidence => "missing_evidence",
            Self::WorkflowMismatch => "workflow_mismatch",
            Self::ProviderMismatch => "provider_mismatch",
            Self::AfterClose => "after_close",
            Self::BeforeOpen => "before_open",
            Self::BytesShort => "bytes_short",
            Self::DialRepeated => "dial_repeated",
            Self::SealBroken => "seal_broken",
            Self::NotClosed => "not_closed",
            Self::EvidenceLost => "evidence_lost",
            Self::ResultLost => "result_lost",
            Self::Unmeasured => "unmeasured",
            Self::InProgress => "in_progress",
            Self::Idle => "idle",
            Self::Probe => "probe",
        }
    }

    /// Returns how much it weighs.
    pub fn weight(self) -> Weight {
        match self {
            Self::UnexplainedEgress
            | Self::MissingEvidence
            | Self::WorkflowMismatch
            | Self::ProviderMismatch
            | Self::AfterClose
            | Self::BeforeOpen
            | Self::BytesShort
            | Self::DialRepeated
            | Self::SealBroken => Weight::Contradiction,
            Self::NotClosed | Self::EvidenceLost | Self::ResultLost | Self::Unmeasured => Weight::Gap,
            Self::InProgress | Self::Idle | Self::Probe => Weight::Note,
        }
    }

    /// Returns what it means, for people.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::UnexplainedEgress => "connections carried more than a handshake, and no call names them",
            Self::MissingEvidence => "calls name a dial that the witness does not have",
            Self::WorkflowMismatch => "calls went over a connection that was opened for another workflow",
            Self::ProviderMismatch => "calls went over a connection to another provider",
            Self::AfterClose => "calls began when their connection was over",
            Self::BeforeOpen => "calls were over before their connection was opened",
            Self::BytesShort => "connections carried fewer bytes than their calls state",
            Self::DialRepeated => "connections have the name of another",
            Self::SealBroken => "tests that should have been refused got a connection",
            Self::NotClosed => "connections have no recorded end",
            Self::EvidenceLost => "calls name a dial that the witness may have lost with its machine",
            Self::ResultLost => "connections can only be explained by calls whose result was lost",
            Self::Unmeasured => "connections carried nobody knows how much, and no call names them",
            Self::InProgress => "connections or calls are not over, and more will be written",
            Self::Idle => "connections were opened and carried no call",
            Self::Probe => "connections asked whether an upstream works",
        }
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// All findings of one code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How often it was found.
    pub count: u64,
    /// The first few.
    pub examples: Vec<Example>,
}

/// One connection, or one call, that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Example {
    /// Name of the dial.
    pub dial: String,
    /// The connection, if the witness has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<ExampleConnection>,
    /// The call, if the finding is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call: Option<ExampleCall>,
}

/// What the witness states of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExampleConnection {
    /// When it was opened.
    pub opened: String,
    /// For which workflow.
    pub workflow: String,
    /// To which provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Host and port.
    pub to: String,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
    /// Bytes that it sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_sent: Option<u64>,
    /// Bytes that it received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_received: Option<u64>,
}

/// What the gateway states of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExampleCall {
    /// Identity of its intent.
    pub intent: String,
    /// Its workflow.
    pub workflow: String,
    /// The provider that answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// When its result was recorded.
    pub ended: String,
}

/// Everything that was found, by code.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Findings(BTreeMap<Code, Finding>);

impl Findings {
    /// Adds one; `example` is asked only while there is room for it.
    pub(super) fn add(&mut self, code: Code, example: impl FnOnce() -> Example) {
        let finding = self.0.entry(code).or_insert(Finding { count: 0, examples: Vec::new() });
        finding.count += 1;
        if finding.examples.len() < EXAMPLES_MAX {
            finding.examples.push(example());
        }
    }

    /// Returns all findings, the worst first.
    pub fn iter(&self) -> impl Iterator<Item = (Code, &Finding)> {
        self.0.iter().map(|(&code, finding)| (code, finding))
    }

    /// Returns how often `code` was found.
    pub fn count(&self, code: Code) -> u64 {
        self.0.get(&code).map_or(0, |finding| finding.count)
    }

    /// Returns the weight of the worst.
    pub fn worst(&self) -> Option<Weight> {
        self.0.keys().map(|code| code.weight()).max()
    }
}
