//! What the agents' proxy counts, for Prometheus: requests by what became of them, tunnels that are open, bytes.
//!
//! The same rules hold as for the gateway's metrics: names of workflows and closed sets of codes are labels, hosts and
//! whatever else an agent wrote are not.

use egress::tunnel::{Decision, Verdict};
use prometheus::{IntCounterVec, IntGauge, Registry, TextEncoder};

use crate::metrics::{counter, registered};

/// What stands for the workflow of a request that did not get as far as to have one.
const UNKNOWN: &str = "-";

/// The outcome of a request that got its connection; the others have a code.
const OPENED: &str = "opened";

/// The proxy's metrics. Each clone counts into the same.
#[derive(Clone)]
pub(crate) struct TunnelMetrics {
    registry: Registry,
    requests: IntCounterVec,
    would_deny: IntCounterVec,
    open: IntGauge,
    bytes: IntCounterVec,
}

impl TunnelMetrics {
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let labels: &[&str] = &["workflow", "outcome"];
        let requests =
            counter(&registry, "portcullis_tunnel_requests_total", "Requests that were decided", labels);
        let would_deny = counter(
            &registry,
            "portcullis_tunnel_would_deny_total",
            "Requests that only report mode let through",
            &["workflow", "code"],
        );
        let open = IntGauge::new("portcullis_tunnel_open_connections", "Connections that are open");
        let bytes =
            counter(&registry, "portcullis_tunnel_bytes_total", "Bytes of ended connections", &["direction"]);
        let open = registered(&registry, open);
        Self { registry, requests, would_deny, open, bytes }
    }

    /// Returns what a decision adds, once it is on record.
    pub(crate) fn of(&self, decision: &Decision) -> Counted<'_> {
        let workflow = decision.workflow.as_ref().map_or(UNKNOWN, |workflow| workflow.as_str());
        let outcome = match decision.verdict {
            Verdict::Opened { .. } => OPENED,
            Verdict::Refused { code } => code,
        };
        Counted { metrics: self, workflow: workflow.to_owned(), outcome, would_deny: decision.would_deny }
    }

    /// Counts a connection that has ended, with the bytes sent and received.
    pub(crate) fn closed(&self, (sent, received): (u64, u64)) {
        self.open.dec();
        self.bytes.with_label_values(&["sent"]).inc_by(sent);
        self.bytes.with_label_values(&["received"]).inc_by(received);
    }

    /// The text for Prometheus.
    pub(crate) fn render(&self) -> Result<String, prometheus::Error> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// A decision that is not counted yet.
pub(crate) struct Counted<'a> {
    metrics: &'a TunnelMetrics,
    workflow: String,
    outcome: &'static str,
    would_deny: Option<&'static str>,
}

impl Counted<'_> {
    pub(crate) fn count(self) {
        let Self { metrics, workflow, outcome, would_deny } = self;
        metrics.requests.with_label_values(&[&workflow, outcome]).inc();
        if let Some(code) = would_deny {
            metrics.would_deny.with_label_values(&[&workflow, code]).inc();
        }
        if outcome == OPENED {
            metrics.open.inc();
        }
    }
}
