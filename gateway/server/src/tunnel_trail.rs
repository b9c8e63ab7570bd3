//! The trail of the agents' proxy: what became of each request, and how each connection ended.

use std::path::Path;
use std::time::Duration;

use audit::{Caller, ControlEvent, DialId, EgressClose, EgressDecision, Text, Tunnel};
use egress::tunnel::{CallerFacts, Close, Decision, Mode, Unrecorded, Verdict, Witness};

use crate::command::CommandError;
use crate::tunnel_metrics::TunnelMetrics;
use crate::witness;

/// Its folder, in that of the data.
const FOLDER: &str = "proxy";

/// What stands for a workflow or a host that a refused request did not get as far as to have.
const UNKNOWN: &str = "-";

/// The trail.
#[derive(Clone)]
pub(crate) struct TunnelTrail {
    log: audit::Log,
    metrics: TunnelMetrics,
}

impl TunnelTrail {
    /// Opens it, or begins it.
    pub(crate) fn open(data_dir: &Path) -> Result<Self, CommandError> {
        let log = witness::open(&data_dir.join(FOLDER), "the proxy")?;
        Ok(Self { log, metrics: TunnelMetrics::new() })
    }

    /// What it has counted.
    pub(crate) fn metrics(&self) -> &TunnelMetrics {
        &self.metrics
    }

    /// Ends it.
    pub(crate) async fn close(&self) -> Result<(), audit::AuditError> {
        self.log.close().await
    }
}

impl Witness for TunnelTrail {
    fn decided(&self, decision: Decision) -> Result<(), Unrecorded> {
        let counted = self.metrics.of(&decision);
        self.log.write(&ControlEvent::EgressDecision(record(decision))).map_err(|error| {
            tracing::error!(%error, "a request cannot be put on record");
            Unrecorded
        })?;
        // What is not on record does not open.
        counted.count();
        Ok(())
    }

    fn closed(&self, close: Close) {
        let Close { id, reason, bytes_sent, bytes_received, open, sni, would_deny } = close;
        if let Some(code) = would_deny {
            tracing::warn!(dial = id, code, sni, "a tunnel would have been closed");
        }
        self.metrics.closed((bytes_sent, bytes_received));
        let event = ControlEvent::EgressClose(EgressClose {
            dial: DialId::from(id),
            reason: reason.into(),
            bytes_sent: Some(bytes_sent),
            bytes_received: Some(bytes_received),
            open_ms: u64::try_from(open.as_millis()).unwrap_or(u64::MAX),
            sni: sni.map(Into::into),
            would_deny: would_deny.map(Into::into),
        });
        if let Err(error) = self.log.post(&event) {
            tracing::error!(%error, "the end of a connection is not on record");
        }
    }
}

fn record(decision: Decision) -> EgressDecision {
    let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let Decision { id, caller, workflow, mode, target, verdict, would_deny, lookup, connect, .. } = decision;
    let verdict = match verdict {
        Verdict::Opened { address } => {
            audit::Verdict::Opened { address: text(&address), vantage: "local".into(), proxy: None }
        }
        Verdict::Refused { code } => audit::Verdict::Refused { code: code.into() },
    };
    let tunnel = Tunnel {
        caller: caller.map(|CallerFacts { kind, id, key }| Caller {
            kind: kind.as_str().into(),
            key: key.filter(|key| key.as_str() != id).map(|key| text(&key)),
            id: id.as_str().into(),
        }),
        mode: mode.unwrap_or(Mode::Enforce).as_str().into(),
        would_deny: would_deny.map(Into::into),
    };
    EgressDecision {
        dial: DialId::from(id),
        purpose: "tunnel".into(),
        workflow: workflow.map_or_else(|| UNKNOWN.into(), |workflow| text(&workflow)),
        provider: None,
        host: target.as_ref().map_or_else(|| UNKNOWN.into(), |target| text(target.host())),
        port: target.as_ref().map_or(0, egress::tunnel::Target::port),
        verdict,
        dns_us: lookup.map(micros),
        connect_us: connect.map(micros),
        tunnel: Some(tunnel),
    }
}

fn text(value: &impl ToString) -> Text {
    Text::from(value.to_string())
}
