//! The verdict of a reconciliation, and its text for people and for programs.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::ser::SerializeStruct as _;

use super::findings::{Code, Example, Finding, Findings, Weight};
use super::join::Tally;
use crate::verify::{Completeness, Integrity, Report};

/// What came of holding the logs against each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reconciliation {
    /// The logs that were read, and what their verification says.
    pub logs: Vec<LogState>,
    /// What does not fit together; nothing if the verdict is [`Verdict::CannotTell`].
    pub findings: Findings,
    /// What both sides did, in numbers.
    pub tally: Tally,
}

/// Which side a log is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Whoever calls.
    Gateway,
    /// Whoever opens connections.
    Witness,
}

/// One log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// Its folder.
    pub dir: PathBuf,
    /// Which side it is of.
    pub side: Side,
    /// What its verification says.
    pub report: Report,
}

impl LogState {
    pub(super) fn new(dir: &Path, side: Side, report: Report) -> Self {
        Self { dir: dir.to_owned(), side, report }
    }

    fn is_valid(&self) -> bool {
        matches!(self.report.integrity, Integrity::Valid { .. })
    }

    fn has_gaps(&self) -> bool {
        matches!(self.report.completeness, Completeness::Gaps(_))
    }
}

/// The one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every connection is explained, and every call has its connection.
    Reconciled,
    /// Nothing contradicts, but evidence is missing.
    Gaps,
    /// The two sides contradict each other.
    Contradiction,
    /// A log was altered, so what it says counts for nothing.
    CannotTell,
}

impl Reconciliation {
    pub(super) fn new(logs: Vec<LogState>, findings: Findings, tally: Tally) -> Self {
        if logs.iter().all(LogState::is_valid) {
            return Self { logs, findings, tally };
        }
        Self { logs, findings: Findings::default(), tally: Tally::default() }
    }

    /// Returns the answer.
    pub fn verdict(&self) -> Verdict {
        if !self.logs.iter().all(LogState::is_valid) {
            return Verdict::CannotTell;
        }
        match self.findings.worst() {
            Some(Weight::Contradiction) => Verdict::Contradiction,
            Some(Weight::Gap) => Verdict::Gaps,
            _ if self.logs.iter().any(LogState::has_gaps) => Verdict::Gaps,
            _ => Verdict::Reconciled,
        }
    }

    /// Returns the exit code that states the answer to a script.
    ///
    /// | code | verdict |
    /// |---|---|
    /// | 0 | reconciled |
    /// | 10 | gaps |
    /// | 40 | contradiction |
    /// | 50 | cannot tell |
    pub fn exit_code(&self) -> u8 {
        match self.verdict() {
            Verdict::Reconciled => 0,
            Verdict::Gaps => 10,
            Verdict::Contradiction => 40,
            Verdict::CannotTell => crate::verify::CANNOT_RUN,
        }
    }
}

/// Several lines, the last without its newline.
impl fmt::Display for Reconciliation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "verdict: {}", self.verdict())?;
        for weight in [Weight::Contradiction, Weight::Gap, Weight::Note] {
            for (code, finding) in self.findings.iter().filter(|(code, _)| code.weight() == weight) {
                write_finding(f, code, finding)?;
            }
        }
        if self.verdict() != Verdict::CannotTell {
            let Tally { connections, tunnels, refused, bytes_sent, bytes_received, calls, calls_connected } =
                &self.tally;
            writeln!(f, "connections: {connections}, {tunnels} of them agents' own")?;
            writeln!(f, "refused:     {}", refused.values().sum::<u64>())?;
            // What stands in the log must not reach a person's terminal as it is.
            refused
                .iter()
                .try_for_each(|(code, count)| writeln!(f, "  {count:>10}  {}", code.escape_debug()))?;
            writeln!(f, "bytes:       {bytes_sent} sent, {bytes_received} received")?;
            writeln!(f, "calls:       {calls}, {calls_connected} of them over a connection")?;
        }
        for log in &self.logs {
            let side = match log.side {
                Side::Gateway => "gateway:",
                Side::Witness => "witness:",
            };
            writeln!(f, "{side:<12} {}: {}", log.dir.display(), log.report.integrity)?;
            if let Completeness::Gaps(missing) = &log.report.completeness {
                missing.iter().try_for_each(|missing| writeln!(f, "  - {missing}"))?;
            }
            if log.report.in_use {
                writeln!(f, "  note: the log is in use; more may be written to it")?;
            }
        }
        write!(f, "note: what both sides left out, or removed from the ends of both logs, does not show here")
    }
}

fn write_finding(f: &mut fmt::Formatter<'_>, code: Code, finding: &Finding) -> fmt::Result {
    let weight = match code.weight() {
        Weight::Contradiction => "CONTRADICTION",
        Weight::Gap => "gap",
        Weight::Note => "note",
    };
    writeln!(f, "  - {weight} {}, {}: {}", code.as_str(), finding.count, code.meaning())?;
    if code.weight() == Weight::Note {
        return Ok(());
    }
    for example in &finding.examples {
        writeln!(f, "      {example}")?;
    }
    let more = finding.count - finding.examples.len() as u64;
    if more > 0 { writeln!(f, "      and {more} more") } else { Ok(()) }
}

/// One line. Names come from the logs; a person's terminal must not obey what stands in them.
impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.dial.escape_debug())?;
        if let Some(connection) = &self.connection {
            let (workflow, to) = (connection.workflow.escape_debug(), connection.to.escape_debug());
            write!(f, " for `{workflow}` to {to}, opened {}", connection.opened)?;
            match (connection.bytes_sent, connection.bytes_received) {
                (Some(sent), Some(received)) => write!(f, ", {sent} bytes sent, {received} received")?,
                _ if connection.closed.is_some() => f.write_str(", bytes unknown")?,
                _ => f.write_str(", no end on record")?,
            }
        }
        if let Some(call) = &self.call {
            let workflow = call.workflow.escape_debug();
            write!(f, "; call {} of `{workflow}`, ended {}", call.intent, call.ended)?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reconciled => "RECONCILED, as far as the two sides can tell",
            Self::Gaps => "GAPS, evidence is missing",
            Self::Contradiction => "CONTRADICTION",
            Self::CannotTell => "CANNOT TELL, a log was altered",
        })
    }
}

/// The form for programs.
impl Serialize for Reconciliation {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Found<'a> {
            code: Code,
            weight: Weight,
            count: u64,
            examples: &'a [Example],
        }
        let found = self.findings.iter().map(|(code, finding)| Found {
            code,
            weight: code.weight(),
            count: finding.count,
            examples: &finding.examples,
        });
        let findings: Vec<_> = found.collect();
        let mut members = serializer.serialize_struct("Reconciliation", 4)?;
        members.serialize_field("verdict", &self.verdict())?;
        members.serialize_field("findings", &findings)?;
        members.serialize_field("tally", &self.tally)?;
        members.serialize_field("logs", &self.logs)?;
        members.end()
    }
}

impl Serialize for LogState {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { dir, side, report } = self;
        let gaps = match &report.completeness {
            Completeness::Gaps(missing) => missing.iter().map(ToString::to_string).collect(),
            Completeness::Complete | Completeness::NotAssessed => Vec::new(),
        };
        let mut members = serializer.serialize_struct("LogState", 5)?;
        members.serialize_field("side", side)?;
        members.serialize_field("dir", &dir.display().to_string())?;
        members.serialize_field("integrity", &report.integrity.to_string())?;
        members.serialize_field("gaps", &gaps)?;
        members.serialize_field("in_use", &report.in_use)?;
        members.end()
    }
}
