//! Every metric, by name, in one place. Labels are names from the policy and closed sets of codes.
//!
//! The table for readers is `docs/metrics.md`; a test holds the two together.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{
    Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use routing::{Snapshot, State};

use crate::active::Active;
use crate::app::App;
use crate::fleet::{Phase, Standing, parts};

/// Buckets of times to a first token and of whole calls, in seconds.
const CALL_SECONDS: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// Buckets of times between tokens, in seconds.
const TOKEN_SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.25, 0.5, 1.0, 5.0];

/// What the process counts as it goes, and gauges that are read when Prometheus asks.
pub(crate) struct Metrics {
    registry: Registry,
    /// What other parts had counted at the last scrape.
    scrape: Mutex<Counted>,
    pub(crate) requests: IntCounterVec,
    pub(crate) denials: IntCounterVec,
    pub(crate) tokens: IntCounterVec,
    pub(crate) time_to_first_token: HistogramVec,
    pub(crate) inter_token: HistogramVec,
    pub(crate) request_seconds: HistogramVec,
    pub(crate) in_flight: IntGaugeVec,
    pub(crate) shadow: IntCounterVec,
    engine: EngineGauges,
    upstream: UpstreamGauges,
    seal: IntGaugeVec,
    dials: IntCounterVec,
    audit_healthy: Gauge,
    policy_info: GaugeVec,
    pub(crate) reloads: IntCounterVec,
    pub(crate) reload_failures: IntCounterVec,
    pub(crate) revocations_failures: IntCounter,
    reload: ReloadGauges,
}

/// Whether the present state of the files is in force.
struct ReloadGauges {
    policy: Gauge,
    revocations: Gauge,
    entries: IntGauge,
}

impl ReloadGauges {
    fn new(registry: &Registry) -> Self {
        let one = |name: &str, help: &str| registered(registry, Gauge::new(name, help));
        Self {
            policy: one("portcullis_policy_reload_success", "1 while the policy file is what is in force"),
            revocations: one("portcullis_revocations_reload_success", "1 while the list is what is in force"),
            entries: registered(
                registry,
                IntGauge::new("portcullis_revocations_entries", "Entries of the list in force"),
            ),
        }
    }

    fn read(&self, app: &App) {
        let failing = app.failing();
        self.policy.set(f64::from(u8::from(failing.policy.is_none())));
        self.revocations.set(f64::from(u8::from(failing.revocations.is_none())));
        self.entries.set(app.revocations.borrow().len() as i64);
    }
}

/// The engine's gauges, one per field of its stats.
struct EngineGauges {
    waiting: IntGaugeVec,
    running: IntGaugeVec,
    blocks_used: IntGaugeVec,
    blocks_kept: IntGaugeVec,
    blocks_total: IntGaugeVec,
    prompt_cached: IntCounterVec,
    preemptions: IntCounterVec,
    constrained: IntCounterVec,
    drafted: IntCounterVec,
    accepted: IntCounterVec,
    steps: IntCounterVec,
    last_step_age: GaugeVec,
    state: IntGaugeVec,
    well: IntGaugeVec,
    failures: IntCounterVec,
    load_seconds: GaugeVec,
    memory: IntGaugeVec,
    memory_budget: IntGauge,
    memory_held: IntGauge,
}

impl EngineGauges {
    fn new(registry: &Registry) -> Self {
        let counter = |name, help, labels: &[&str]| counter(registry, name, help, labels);
        let gauge = |name, help, labels: &[&str]| gauge(registry, name, help, labels);
        let float =
            |name: &str, help: &str| registered(registry, GaugeVec::new(Opts::new(name, help), &["model"]));
        let one = |name: &str, help: &str| registered(registry, IntGauge::new(name, help));
        Self {
            waiting: gauge("portcullis_engine_waiting_sequences", "Sequences in the queue", &["model"]),
            running: gauge("portcullis_engine_running_sequences", "Sequences in the step", &["model"]),
            blocks_used: gauge("portcullis_engine_kv_blocks_used", "KV blocks held by sequences", &["model"]),
            blocks_kept: gauge(
                "portcullis_engine_kv_blocks_kept",
                "Free KV blocks that the prefix cache can still give",
                &["model"],
            ),
            prompt_cached: counter(
                "portcullis_engine_prompt_tokens_cached_total",
                "Tokens of prompts that the prefix cache had",
                &["model"],
            ),
            blocks_total: gauge("portcullis_engine_kv_blocks_total", "KV blocks in the pool", &["model"]),
            preemptions: counter(
                "portcullis_engine_preemptions_total",
                "Sequences computed again",
                &["model"],
            ),
            drafted: counter(
                "portcullis_engine_drafted_tokens_total",
                "Tokens that were guessed and read by the model",
                &["model"],
            ),
            accepted: counter(
                "portcullis_engine_accepted_tokens_total",
                "Guessed tokens that were right",
                &["model"],
            ),
            constrained: counter(
                "portcullis_engine_constrained_requests_total",
                "Requests held to a form",
                &["model"],
            ),
            steps: counter("portcullis_engine_steps_total", "Forward passes", &["model"]),
            last_step_age: float(
                "portcullis_engine_last_step_age_seconds",
                "Since the last forward pass ended",
            ),
            state: gauge("portcullis_engine_model_state", "1 for the model's state", &["model", "state"]),
            well: gauge("portcullis_engine_model_well", "1 unless something is wrong with it", &["model"]),
            failures: counter("portcullis_engine_failures_total", "Engines that broke", &["model"]),
            load_seconds: float("portcullis_engine_load_seconds", "What loading it took, the last time"),
            memory: gauge("portcullis_engine_memory_bytes", "What a model takes", &["model", "kind"]),
            memory_budget: one("portcullis_engine_memory_budget_bytes", "What all engines may take"),
            memory_held: one("portcullis_engine_memory_held_bytes", "What all engines were given"),
        }
    }

    /// Reads all models of the generation in force.
    fn read(&self, active: &Active, counted: &mut Counted) {
        self.forget();
        set(&self.memory_held, active.memory().held_bytes());
        set(&self.memory_budget, active.memory().budget_bytes().unwrap_or_default());
        for resident in active.residents() {
            self.read_one(resident.recipe().name.as_ref(), &resident.standing(), counted);
        }
    }

    fn read_one(&self, model: &str, standing: &Standing, counted: &mut Counted) {
        for state in Phase::NAMES {
            self.state.with_label_values(&[model, state]).set(i64::from(standing.phase.name() == state));
        }
        self.well.with_label_values(&[model]).set(i64::from(!standing.is_troubled()));
        counted.catch_up(&self.failures, &[model], standing.broken);
        if let Some(took) = standing.took {
            self.load_seconds.with_label_values(&[model]).set(took.as_secs_f64());
        }
        let Some(stats) = standing.stats() else { return };
        for (kind, bytes) in standing.need.iter().flat_map(parts) {
            set(&self.memory.with_label_values(&[model, kind]), bytes);
        }
        set(&self.waiting.with_label_values(&[model]), stats.waiting_sequences);
        set(&self.running.with_label_values(&[model]), stats.running_sequences);
        set(&self.blocks_used.with_label_values(&[model]), stats.kv_blocks_used);
        set(&self.blocks_kept.with_label_values(&[model]), stats.kv_blocks_kept);
        set(&self.blocks_total.with_label_values(&[model]), stats.kv_blocks_total);
        if let Some(age) = stats.last_step_age {
            self.last_step_age.with_label_values(&[model]).set(age.as_secs_f64());
        }
        let mut count = |counter: &IntCounterVec, value| counted.catch_up(counter, &[model], value);
        count(&self.preemptions, stats.preemptions);
        count(&self.prompt_cached, stats.prompt_tokens_cached);
        count(&self.constrained, stats.constrained_requests);
        count(&self.drafted, stats.drafted_tokens);
        count(&self.accepted, stats.accepted_tokens);
        count(&self.steps, stats.steps);
    }

    /// Forgets what engines held: some may be gone with a policy, or out of memory.
    fn forget(&self) {
        let blocks = [&self.blocks_used, &self.blocks_kept, &self.blocks_total];
        let others = [&self.waiting, &self.running, &self.state, &self.well, &self.memory];
        blocks.into_iter().chain(others).for_each(IntGaugeVec::reset);
        [&self.last_step_age, &self.load_seconds].into_iter().for_each(GaugeVec::reset);
    }
}

/// What is known of upstreams.
struct UpstreamGauges {
    breaker: IntGaugeVec,
    retries: IntCounterVec,
    health: IntGaugeVec,
}

impl UpstreamGauges {
    fn new(registry: &Registry) -> Self {
        let labels: &[&str] = &["provider", "model"];
        Self {
            breaker: gauge(
                registry,
                "portcullis_upstream_breaker_state",
                "0 closed, 1 half open, 2 open",
                labels,
            ),
            retries: counter(registry, "portcullis_upstream_retries_total", "Second tries", labels),
            health: gauge(
                registry,
                "portcullis_upstream_health",
                "1 while probes say that it is well",
                &["provider"],
            ),
        }
    }

    fn read(&self, upstreams: &[Snapshot], counted: &mut Counted) {
        // Those that no policy names any more are not to be seen any more.
        self.breaker.reset();
        self.health.reset();
        for upstream in upstreams {
            let labels = [&*upstream.provider, &*upstream.model];
            let state = match upstream.breaker {
                State::Closed => 0,
                State::HalfOpen => 1,
                State::Open(_) => 2,
            };
            self.breaker.with_label_values(&labels).set(state);
            counted.catch_up(&self.retries, &labels, upstream.retries);
            self.health.with_label_values(&[&*upstream.provider]).set(i64::from(upstream.is_healthy));
        }
    }
}

fn audit_healthy() -> prometheus::Result<Gauge> {
    Gauge::new("portcullis_audit_healthy", "1 while records are written")
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let counter = |name, help, labels: &[&str]| counter(&registry, name, help, labels);
        let gauge = |name, help, labels: &[&str]| gauge(&registry, name, help, labels);
        let histogram = |name, help, labels: &[&str], buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            registered(&registry, HistogramVec::new(options, labels))
        };
        Self {
            requests: counter(
                "portcullis_requests_total",
                "Calls that ended",
                &["workflow", "model", "outcome"],
            ),
            denials: counter("portcullis_denials_total", "Calls refused before anything was sent", &["code"]),
            tokens: counter("portcullis_tokens_total", "Tokens", &["workflow", "model", "kind"]),
            time_to_first_token: histogram(
                "portcullis_time_to_first_token_seconds",
                "From arrival to the first output",
                &["model"],
                CALL_SECONDS,
            ),
            inter_token: histogram(
                "portcullis_inter_token_seconds",
                "Between two pieces of output",
                &["model"],
                TOKEN_SECONDS,
            ),
            request_seconds: histogram(
                "portcullis_request_seconds",
                "From arrival to the end",
                &["model", "outcome"],
                CALL_SECONDS,
            ),
            in_flight: gauge(
                "portcullis_in_flight_requests",
                "Calls between intent and result",
                &["workflow"],
            ),
            shadow: counter(
                "portcullis_upstream_shadow_total",
                "Copies for comparison",
                &["model", "outcome"],
            ),
            engine: EngineGauges::new(&registry),
            upstream: UpstreamGauges::new(&registry),
            seal: gauge("portcullis_seal_held", "Whether a wall of the process holds", &["layer"]),
            dials: counter("portcullis_egress_dials_total", "Decisions about a connection", &["outcome"]),
            audit_healthy: registered(&registry, audit_healthy()),
            policy_info: registered(
                &registry,
                GaugeVec::new(Opts::new("portcullis_policy_info", "1 for the policy in force"), &["digest"]),
            ),
            reloads: counter("portcullis_policy_reloads_total", "Reloads", &["outcome"]),
            reload_failures: counter(
                "portcullis_policy_reload_failures_total",
                "Reloads that changed nothing because of a failure",
                &["stage"],
            ),
            revocations_failures: registered(
                &registry,
                IntCounter::new(
                    "portcullis_revocations_reload_failures_total",
                    "Lists of revocations that were not taken",
                ),
            ),
            reload: ReloadGauges::new(&registry),
            registry,
            scrape: Mutex::default(),
        }
    }

    /// The text for Prometheus, with what other parts count read now.
    pub(crate) fn render(&self, app: &App) -> Result<String, prometheus::Error> {
        // Held while counters catch up, so that two scrapes do not both add the difference.
        let mut counted = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        let active = app.active();
        self.engine.read(&active, &mut counted);
        let dials = active.egress.stats();
        counted.catch_up(&self.dials, &["allowed"], dials.dials_allowed);
        counted.catch_up(&self.dials, &["refused"], dials.dials_refused);
        self.upstream.read(&app.router.snapshot(), &mut counted);
        for tried in app.seal.last().layers {
            let held = i64::from(tried.state == audit::SealState::Held);
            self.seal.with_label_values(&[tried.layer]).set(held);
        }
        self.audit_healthy.set(f64::from(u8::from(app.audit.is_healthy())));
        self.reload.read(app);
        self.policy_info.reset();
        self.policy_info.with_label_values(&[&active.policy.digest().to_string()]).set(1.0);
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

/// What other parts had counted when they were last read, by the counter's name and its labels.
#[derive(Default)]
struct Counted(BTreeMap<(String, String), u64>);

impl Counted {
    /// Brings a counter up to what the part that counts says.
    fn catch_up(&mut self, counter: &IntCounterVec, labels: &[&str], value: u64) {
        let name = counter.desc().first().map(|desc| desc.fq_name.clone()).unwrap_or_default();
        let last = self.0.insert((name, labels.join("/")), value).unwrap_or(0);
        // Less than before is a count that began anew: another policy loaded another model under the name.
        counter.with_label_values(labels).inc_by(value.checked_sub(last).unwrap_or(value));
    }
}

/// Sets a gauge to a count, of which Prometheus knows half the range.
fn set(gauge: &IntGauge, value: u64) {
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
}

pub(crate) fn counter(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(registry, IntCounterVec::new(Opts::new(name, help), labels))
}

fn gauge(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    registered(registry, IntGaugeVec::new(Opts::new(name, help), labels))
}

pub(crate) fn registered<M: Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<M>,
) -> M {
    let metric = made.expect("names and labels are constants that Prometheus accepts");
    registry.register(Box::new(metric.clone())).expect("each name is registered once");
    metric
}
