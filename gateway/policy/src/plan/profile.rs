//! What a workflow amounts to: the sets and numbers that two policies are compared by.
//!
//! Nothing here is read off the file. What may be dialled is asked of [`Policy::may_dial`], where calls go of
//! [`Policy::decide`], once for each class of calls that the route tells apart.

use std::collections::{BTreeMap, BTreeSet};

use url::Host;

use super::Aspect;
use super::classes::Classes;
use crate::admitted::Limits;
use crate::content::{ContentRule, ContentRules};
use crate::explain::{Outcome, Place};
use crate::glob::Glob;
use crate::identity::{CallerRule, KeyRule};
use crate::policy::Policy;
use crate::priority::Priority;
use crate::provider::Provider;
use crate::tools::ToolRules;
use crate::tunnel::{Tunnel, TunnelMode};
use crate::unit::{show_duration, show_size};
use crate::workflow::{StoredResponses, Workflow};

/// Hosts and ports at which providers are declared.
pub(super) type Endpoints = BTreeSet<(Host, u16)>;

/// Characters of a key's hash that are shown: enough to tell two keys of one id apart.
const HASH_CHARS_SHOWN: usize = 8;

/// One quantity, and how wide it is: a greater width lets more happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Measure {
    pub(super) shown: String,
    pub(super) width: i128,
}

/// What a workflow amounts to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Profile {
    pub(super) sets: BTreeMap<Aspect, BTreeSet<String>>,
    pub(super) measures: BTreeMap<Aspect, Measure>,
    pub(super) is_exact: bool,
}

impl Profile {
    /// Works out what `workflow` of `policy` amounts to; `endpoints` are those of either policy's providers.
    pub(super) fn of(policy: &Policy, workflow: &Workflow, endpoints: &Endpoints) -> Self {
        let mut profile = Self::default();
        let (places, is_exact) = places(policy, workflow);
        profile.is_exact = is_exact;
        profile.reach(policy, workflow, &places);
        profile.tunnels(policy, workflow, endpoints);
        profile.content(*workflow.content_rules());
        profile.callers(workflow);
        profile.tools(workflow);
        profile.insert_all(Aspect::MustSurvive, workflow.must_survive.iter().cloned());
        profile.measures(workflow);
        profile
    }

    fn insert_all(&mut self, aspect: Aspect, items: impl IntoIterator<Item = String>) {
        self.sets.entry(aspect).or_default().extend(items);
    }

    fn reach(&mut self, policy: &Policy, workflow: &Workflow, places: &BTreeSet<Place>) {
        for place in places {
            self.insert_all(Aspect::Targets, [place.to_string()]);
            self.insert_all(Aspect::Providers, [place.provider.to_string()]);
            self.insert_all(Aspect::Localities, [place.locality.to_string()]);
        }
        for provider in policy.providers() {
            let Provider::Http(to) = provider else { continue };
            if policy.may_dial(&workflow.name, &to.provider, &to.host, to.port).is_err() {
                continue;
            }
            self.insert_all(Aspect::Hosts, [format!("{}:{}", to.host, to.port)]);
            self.insert_all(Aspect::Providers, [to.provider.to_string()]);
            self.insert_all(Aspect::Localities, [to.locality.to_string()]);
            self.insert_all(Aspect::Regions, to.region.clone());
            self.insert_all(Aspect::Networks, to.cidrs.iter().map(ToString::to_string));
            if let Some(proxy) = &to.proxy {
                let networks = proxy.cidrs.iter().map(|network| format!("{network} of the proxy at {proxy}"));
                self.insert_all(Aspect::Networks, networks);
            }
        }
    }

    /// Asked of the policy where an entry names one host, and where there is or was a provider; a pattern stands for all
    /// else that it could be asked about.
    fn tunnels(&mut self, policy: &Policy, workflow: &Workflow, endpoints: &Endpoints) {
        let may_reach = |host: &Host, port: u16, tunnel: Tunnel| {
            policy.may_tunnel(&workflow.name, host, port, tunnel).is_ok()
        };
        let forms = [(Tunnel::Connect, ""), (Tunnel::Plain, " by plain HTTP")];
        for (tunnel, how) in forms {
            let open = endpoints.iter().filter(|(host, port)| may_reach(host, *port, tunnel));
            self.insert_all(Aspect::Tunnels, open.map(|(host, port)| format!("{host}:{port}{how}")));
        }
        for rule in &workflow.grant.hosts {
            for (tunnel, how) in forms {
                let is_open =
                    |port: &u16| rule.pattern().exact().is_none_or(|host| may_reach(host, *port, tunnel));
                let ports = rule.ports(tunnel).filter(is_open);
                let items = ports.map(|port| format!("{}:{port}{how}", rule.pattern()));
                self.insert_all(Aspect::Tunnels, items);
            }
            for port in rule.ports(Tunnel::Connect) {
                let networks = rule.networks().iter();
                let items = networks.map(|network| format!("{network} of {}:{port}", rule.pattern()));
                self.insert_all(Aspect::Networks, items);
            }
        }
    }

    fn content(&mut self, rules: ContentRules) {
        let ContentRules { urls, hosted_tools, stored_state, unknown_fields } = rules;
        let kinds = [
            (urls, "URLs to fetch"),
            (hosted_tools, "tools that the provider runs"),
            (stored_state, "state that the provider keeps"),
            (unknown_fields, "fields that are not known here"),
        ];
        let passing = kinds.into_iter().filter(|(rule, _)| *rule == ContentRule::Pass);
        self.insert_all(Aspect::Content, passing.map(|(_, kind)| kind.to_owned()));
    }

    fn callers(&mut self, workflow: &Workflow) {
        // The hash stands beside the id, because another key under the same id lets somebody else in.
        let callers = workflow.callers.iter().map(|caller| match caller {
            CallerRule::Loopback => "loopback".to_owned(),
            CallerRule::Source(network) => format!("source {network}, for tunnels alone"),
            CallerRule::ApiKey(KeyRule { id, sha256, caller, expires: _ }) => {
                let hash: String = sha256.to_string().chars().take(HASH_CHARS_SHOWN).collect();
                let of = caller.as_ref().map(|name| format!(" of {name}")).unwrap_or_default();
                format!("api_key {id}{of} (sha256 {hash}…)")
            }
        });
        self.insert_all(Aspect::Callers, callers);
    }

    /// The rules as they are written; which tools they let pass is compared over both policies.
    fn tools(&mut self, workflow: &Workflow) {
        let ToolRules { allow, deny } = &workflow.tools;
        self.insert_all(Aspect::ToolsDenied, deny.iter().map(|pattern| pattern.as_str().to_owned()));
        let lists = allow.iter().map(|list| {
            let patterns: Vec<&str> = list.iter().map(Glob::as_str).collect();
            format!("one of {}", patterns.join(", "))
        });
        self.insert_all(Aspect::ToolsAllowed, lists);
    }

    fn measures(&mut self, workflow: &Workflow) {
        let Limits { max_body_bytes, stream_idle, total } = workflow.limits;
        let mode = workflow.egress_mode();
        let retention = workflow.retention;
        let mut put = |aspect, shown: String, width: i128| {
            self.measures.insert(aspect, Measure { shown, width });
        };
        put(Aspect::Mode, mode.to_string(), mode as i128);
        let (tunnels, width) = report(workflow.tunnels());
        put(Aspect::TunnelMode, tunnels, width);
        let connections = workflow.connections_max();
        put(Aspect::Connections, connections.to_string(), connections.into());
        let priority = workflow.priority();
        put(Aspect::Priority, priority.as_str().to_owned(), i128::from(priority == Priority::Interactive));
        put(Aspect::MaxBody, show_size(max_body_bytes), max_body_bytes.into());
        put(Aspect::StreamIdle, show_duration(stream_idle), millis(stream_idle));
        put(Aspect::Total, show_duration(total), millis(total));
        // Records that are gone earlier prove less.
        put(Aspect::Retention, show_duration(retention), -millis(retention));
        let (keep, bytes) = match workflow.stored_responses {
            None => (("none".to_owned(), 0), ("none".to_owned(), 0)),
            Some(StoredResponses { keep, max_bytes }) => {
                ((show_duration(keep), millis(keep)), (show_size(max_bytes), i128::from(max_bytes)))
            }
        };
        put(Aspect::StoredKeep, keep.0, keep.1);
        put(Aspect::StoredBytes, bytes.0, bytes.1);
        put(Aspect::Owner, workflow.owner.to_string(), 0);
    }
}

/// The longer connections are only reported, the more gets out.
fn report(mode: TunnelMode) -> (String, i128) {
    match mode {
        TunnelMode::Enforce => (mode.as_str().to_owned(), 0),
        TunnelMode::Report { until: None } => (format!("{}, without an end", mode.as_str()), i128::MAX),
        TunnelMode::Report { until: Some(until) } => {
            (format!("{} until {until}", mode.as_str()), i128::from(until.unix_s()) + 1)
        }
    }
}

fn millis(duration: std::time::Duration) -> i128 {
    i128::try_from(duration.as_millis()).unwrap_or(i128::MAX)
}

/// Every place that some call of the workflow can be sent to, and whether that is exactly so. If there are more
/// classes of calls than are looked at, it is every place that the route names.
fn places(policy: &Policy, workflow: &Workflow) -> (BTreeSet<Place>, bool) {
    let classes = Classes::of(&[workflow]);
    if !classes.is_complete {
        return (workflow.reachable_models().map(Place::of).collect(), false);
    }
    let outcomes = classes.facts.iter().map(|facts| Outcome::of(workflow, policy.decide(workflow, facts)));
    (outcomes.flat_map(|outcome| outcome.reached().cloned().collect::<Vec<_>>()).collect(), true)
}
