//! Groups of deployments with one name, as entries of a route.

use super::config::{Config, Deployment};
use super::upstream::{self, Upstream};
use crate::diagnostic::{Findings, Spanned};
use crate::name::ModelName;

/// What the policy file will have.
#[derive(Default)]
pub(super) struct Groups {
    /// Providers with their names.
    pub(super) providers: Vec<(String, Upstream)>,
    pub(super) models: Vec<Model>,
    pub(super) entries: Vec<Entry>,
    pub(super) attempts: Option<u32>,
}

/// One entry of `models`.
pub(super) struct Model {
    pub(super) name: String,
    /// Which of the providers.
    pub(super) provider: usize,
    pub(super) upstream_name: String,
    /// Dollars for a million tokens of input and output.
    pub(super) price: Option<[f64; 2]>,
    weight: u32,
    group: String,
}

/// One entry of the route.
pub(super) struct Entry {
    /// What the agent calls the model.
    pub(super) model: String,
    /// Names of models.
    pub(super) to: Vec<String>,
    pub(super) order: Order,
}

/// How an entry chooses.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Order {
    Listed,
    Split(Vec<u32>),
    Balance(&'static str),
}

/// Most attempts that a policy file may ask for.
const ATTEMPTS_MAX: u32 = 5;
/// Largest weight of a policy file.
const WEIGHT_MAX: u32 = 10_000;
/// Settings that were used, or that say nothing about where a call goes and are known to the gateway.
const USED: [&str; 25] = [
    "model",
    "api_base",
    "base_url",
    "api_key",
    "api_version",
    "aws_region_name",
    "aws_access_key_id",
    "aws_secret_access_key",
    "aws_session_token",
    "vertex_project",
    "vertex_location",
    "vertex_credentials",
    "input_cost_per_token",
    "output_cost_per_token",
    "rpm",
    "tpm",
    "weight",
    "id",
    "mode",
    "base_model",
    "description",
    "supports_function_calling",
    "supports_vision",
    "supports_reasoning",
    "drop_params",
];

impl Groups {
    /// Works out what `config` comes to.
    pub(super) fn of(config: &Config, findings: &mut Findings) -> Self {
        let attempts = config.retries.map(|retries| retries.saturating_add(1).min(ATTEMPTS_MAX));
        let mut groups = Self { attempts: attempts.filter(|attempts| *attempts > 1), ..Self::default() };
        for deployment in &config.deployments {
            groups.add(deployment, config, findings);
        }
        let mut names: Vec<&str> = Vec::new();
        for deployment in &config.deployments {
            let group = deployment.group.value.as_str();
            if !names.contains(&group) && groups.models.iter().any(|model| model.group == group) {
                names.push(group);
            }
        }
        for name in names {
            let entry = groups.entry(name, config, findings);
            groups.entries.push(entry);
        }
        for (alias, group) in &config.aliases {
            groups.alias(alias, group, findings);
        }
        groups
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn add(&mut self, deployment: &Deployment, config: &Config, findings: &mut Findings) {
        let Some((upstream, upstream_name)) = upstream::upstream(deployment, findings) else { return };
        let group = deployment.group.value.clone();
        for param in &deployment.params {
            if !USED.contains(&param.key.value.as_str()) {
                let message = format!("`{}` of `{group}` has no counterpart", param.key.value);
                findings.warning(param.key.at, message, "the caller or the provider decides it");
            }
        }
        if let Some(rate) = deployment.param("rpm").or_else(|| deployment.param("tpm")) {
            let message = format!("the rate of `{group}` is not carried over as a limit");
            findings.warning(rate.at, message, "it is the weight of a split, where the group has one");
        }
        let siblings = config.deployments.iter().filter(|other| other.group.value == group).count();
        let name = self.model_name(&group, siblings > 1);
        let provider = self.provider(upstream);
        let price = price(deployment);
        let weight = weight(deployment);
        self.models.push(Model { name, provider, upstream_name, price, weight, group });
    }

    fn provider(&mut self, upstream: Upstream) -> usize {
        if let Some(index) = self.providers.iter().position(|(_, known)| *known == upstream) {
            return index;
        }
        let stem = upstream.stem.replace('_', "-");
        let same = self.providers.iter().filter(|(_, known)| known.stem == upstream.stem).count();
        let name = if same == 0 { stem } else { format!("{stem}-{}", same + 1) };
        self.providers.push((name, upstream));
        self.providers.len() - 1
    }

    /// Makes a name that a policy file may have, and that no other model has.
    fn model_name(&self, group: &str, is_one_of_many: bool) -> String {
        let plain = |c: char| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | '-' | '.') => c,
            _ => '-',
        };
        // Room for a number, within the 63 characters of a name.
        let stem: String = group.chars().map(plain).take(58).collect();
        let is_free = |name: &String| self.models.iter().all(|model| model.name != *name);
        let whole = (!is_one_of_many).then(|| stem.clone());
        let mut names = whole.into_iter().chain((1..).map(|number| format!("{stem}-{number}")));
        let name = names.find(is_free).expect("there are more numbers than models");
        debug_assert!(ModelName::new(&name).is_ok() || stem.is_empty(), "the name has a policy's alphabet");
        name
    }

    fn entry(&self, group: &str, config: &Config, findings: &mut Findings) -> Entry {
        let mut to = self.members(group);
        let fallbacks = config.fallbacks.iter().filter(|(from, _)| from.value == group);
        let mut is_list = false;
        for other in fallbacks.flat_map(|(_, others)| others) {
            is_list |= self.extend(&mut to, group, other, findings);
        }
        let order = if is_list || to.len() == 1 { Order::Listed } else { self.order(&to, config, findings) };
        if is_list && self.members(group).len() > 1 {
            let message = format!("`{group}` has several deployments and fallbacks: its load is not spread");
            let at = config
                .deployments
                .iter()
                .find(|one| one.group.value == group)
                .map_or(config.list_at, |one| one.group.at);
            findings.warning(at, message, "leave the fallbacks out of `to`, and write `split` or `balance`");
        }
        let to = to.iter().map(|index| self.models[*index].name.clone()).collect();
        Entry { model: group.to_owned(), to, order }
    }

    fn members(&self, group: &str) -> Vec<usize> {
        let all = self.models.iter().enumerate();
        let mut members: Vec<usize> =
            all.filter(|(_, model)| model.group == group).map(|(index, _)| index).collect();
        // A list never goes from a strict place to a less strict one.
        members.sort_by_key(|index| self.is_local(*index));
        members
    }

    fn is_local(&self, model: usize) -> bool {
        self.providers[self.models[model].provider].1.is_local()
    }

    /// Adds the models of another group, as far as they may stand in. Returns whether any did.
    fn extend(
        &self,
        to: &mut Vec<usize>,
        group: &str,
        other: &Spanned<String>,
        findings: &mut Findings,
    ) -> bool {
        let members = self.members(&other.value);
        if members.is_empty() {
            let message = format!("the fallback `{}` of `{group}` is no group of this file", other.value);
            findings.warning(other.at, message, "it is left out");
        }
        let mut has_grown = false;
        for member in members.into_iter().filter(|member| !to.contains(member)).collect::<Vec<_>>() {
            let is_looser = to.last().is_some_and(|last| self.is_local(*last)) && !self.is_local(member);
            if is_looser {
                let message =
                    format!("`{}` is hosted and cannot stand in for `{group}`, which is local", other.value);
                findings.warning(other.at, message, "a fallback goes to an equal or stricter locality");
                return has_grown;
            }
            to.push(member);
            has_grown = true;
        }
        has_grown
    }

    fn order(&self, to: &[usize], config: &Config, findings: &mut Findings) -> Order {
        if to.iter().any(|index| self.is_local(*index) != self.is_local(to[0])) {
            return Order::Listed;
        }
        let Some(Spanned { value: strategy, at }) = &config.strategy else { return self.split(to) };
        match strategy.as_str() {
            "simple-shuffle" => self.split(to),
            "least-busy" => Order::Balance("least_inflight"),
            "latency-based-routing" => Order::Balance("latency"),
            "cost-based-routing" if to.iter().all(|index| self.models[*index].price.is_some()) => {
                Order::Balance("cost")
            }
            other => {
                let message = format!("`routing_strategy: {other}` becomes `balance: least_inflight`");
                let hint = "there is also `latency`, `cost` (with a `price` in each model) and `prefix`";
                findings.warning(*at, message, hint);
                Order::Balance("least_inflight")
            }
        }
    }

    fn split(&self, to: &[usize]) -> Order {
        let weights: Vec<u32> = to.iter().map(|index| self.models[*index].weight).collect();
        let largest = weights.iter().copied().max().unwrap_or(1);
        let scale = |weight: u32| {
            if largest <= WEIGHT_MAX {
                return weight;
            }
            let scaled = u64::from(weight) * u64::from(WEIGHT_MAX) / u64::from(largest);
            u32::try_from(scaled).unwrap_or(WEIGHT_MAX).max(1)
        };
        Order::Split(weights.into_iter().map(scale).collect())
    }

    fn alias(&mut self, alias: &Spanned<String>, group: &str, findings: &mut Findings) {
        let Some(entry) = self.entries.iter().find(|entry| entry.model == group) else {
            let message =
                format!("the alias `{}` stands for `{group}`, which is no group of this file", alias.value);
            findings.warning(alias.at, message, "it is left out");
            return;
        };
        if self.entries.iter().any(|entry| entry.model == alias.value) {
            let message = format!("`{}` is a group as well as an alias", alias.value);
            findings.warning(alias.at, message, "the group is taken, the alias is left out");
            return;
        }
        let (to, order) = (entry.to.clone(), entry.order.clone());
        self.entries.push(Entry { model: alias.value.clone(), to, order });
    }
}

/// Returns dollars for a million tokens, where both prices are written.
fn price(deployment: &Deployment) -> Option<[f64; 2]> {
    let read = |key: &str| {
        let per_token: f64 = deployment.param(key)?.value.parse().ok()?;
        let dollars = (per_token * 1e12).round() / 1e6;
        (0.0..=1_000_000.0).contains(&dollars).then_some(dollars)
    };
    Some([read("input_cost_per_token")?, read("output_cost_per_token")?])
}

fn weight(deployment: &Deployment) -> u32 {
    let read = |key: &str| deployment.param(key)?.value.parse::<u32>().ok().filter(|weight| *weight > 0);
    ["weight", "rpm", "tpm"].into_iter().find_map(read).unwrap_or(1)
}
