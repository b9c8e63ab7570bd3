//! The second trail: what whoever opens connections says of them, chained like the first and written by itself.

use std::path::Path;

use audit::{ControlEvent, DialId, EgressClose, EgressDecision};
use egress::{Close, Decision, Unrecorded, Verdict, Witness};

use crate::cli::Serve;
use crate::command::CommandError;

/// Its folder, in that of the data.
pub(crate) const FOLDER: &str = "witness";

/// The second trail.
#[derive(Clone)]
pub(crate) struct Trail(audit::Log);

impl Trail {
    /// Opens it, or begins it.
    pub(crate) fn open(settings: &Serve) -> Result<Self, CommandError> {
        open(&settings.data_dir.join(FOLDER), "the witness").map(Self)
    }

    /// Puts an event on record that is about no connection.
    pub(crate) fn note(&self, event: &ControlEvent) {
        if let Err(error) = self.0.write(event) {
            tracing::error!(%error, "an event is not on the witness's record");
        }
    }

    /// Ends it.
    pub(crate) async fn close(&self) -> Result<(), audit::AuditError> {
        self.0.close().await
    }
}

/// Opens the log in `folder`, or begins it, for `whose` connections.
pub(crate) fn open(folder: &Path, whose: &str) -> Result<audit::Log, CommandError> {
    let (log, recovery) = audit::Log::open(folder, audit::Options::STANDARD)?;
    if recovery.previous == audit::Previous::Unclean {
        tracing::warn!("the last run of {whose} did not end cleanly; recorded as a gap");
    }
    Ok(log)
}

impl Witness for Trail {
    fn decided(&self, decision: Decision) -> Result<(), Unrecorded> {
        let event = ControlEvent::EgressDecision(decision_record(decision));
        self.0.write(&event).map_err(|error| {
            tracing::error!(%error, "a dial cannot be put on record");
            Unrecorded
        })
    }

    fn closed(&self, close: Close) {
        let Close { dial, reason, bytes_sent, bytes_received, open } = close;
        let event = ControlEvent::EgressClose(EgressClose {
            dial: DialId::from(dial.as_str()),
            reason: reason.as_str().into(),
            bytes_sent,
            bytes_received,
            open_ms: u64::try_from(open.as_millis()).unwrap_or(u64::MAX),
            sni: None,
            would_deny: None,
        });
        if let Err(error) = self.0.post(&event) {
            tracing::error!(%error, "the end of a connection is not on record");
        }
    }
}

fn decision_record(decision: Decision) -> EgressDecision {
    let micros = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let verdict = match decision.verdict {
        Verdict::Opened { address, vantage, proxy } => audit::Verdict::Opened {
            address: address.to_string().into(),
            vantage: vantage.as_str().into(),
            proxy: proxy.map(Into::into),
        },
        Verdict::Refused { code } => audit::Verdict::Refused { code: code.into() },
    };
    EgressDecision {
        dial: DialId::from(decision.dial.as_str()),
        purpose: decision.purpose.as_str().into(),
        workflow: decision.workflow.as_ref().into(),
        provider: decision.provider.map(|provider| provider.as_ref().into()),
        host: decision.host.to_string().into(),
        port: decision.port,
        verdict,
        dns_us: decision.lookup.map(micros),
        connect_us: decision.connect.map(micros),
        tunnel: None,
    }
}
