//! Who is calling, and for which workflows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use subtle::ConstantTimeEq;

use crate::digest::Digest;
use crate::explain::Who;
use crate::key::Shown;
use crate::moment::Moment;
use crate::name::{CallerName, KeyId, WorkflowName};
use crate::policy::Policy;
use crate::workflow::Workflow;

/// What a peer shows of itself.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// Whether the peer's address is a loopback address.
    pub loopback: bool,
    /// The API key that came with the request.
    pub api_key: Option<&'a str>,
    /// The time.
    pub now: Moment,
}

/// One way to be a caller of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CallerRule {
    Loopback,
    ApiKey(KeyRule),
    /// A network. Where somebody is proves nothing to the gateway: only the agents' proxy asks for it.
    Source(IpNet),
}

/// A key that lets its holder in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct KeyRule {
    pub(crate) id: KeyId,
    pub(crate) sha256: Digest,
    /// Whose key it is; a key without one is its own caller.
    pub(crate) caller: Option<CallerName>,
    /// The first moment at which it lets nobody in any more.
    pub(crate) expires: Option<Moment>,
}

impl KeyRule {
    /// Returns who the holder of the key is.
    pub(crate) fn caller(&self) -> &str {
        self.caller.as_ref().map_or(self.id.as_str(), CallerName::as_str)
    }
}

/// Somebody whom the policy knows, with the workflows that are open to them.
#[derive(Debug, Clone)]
pub struct Caller {
    kind: CallerKind,
    id: Arc<str>,
    key: Option<KeyId>,
    workflows: Arc<BTreeSet<WorkflowName>>,
}

/// How a caller was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallerKind {
    /// By being on this machine.
    Loopback,
    /// By an API key.
    ApiKey,
    /// By the network that they are in, which is enough for the agents' proxy and for nothing else.
    Source,
}

/// Why a peer is not a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The peer showed nothing and is not trusted for where it is.
    #[error("an API key is required")]
    Missing,
    /// The peer showed something that is no key, or one that was cut or mistyped.
    #[error("this is not a whole API key")]
    NotAKey,
    /// The peer showed a key that the policy does not know.
    #[error("the API key is not known")]
    UnknownKey,
    /// The peer showed a key that the policy knew until its time was over.
    #[error("the API key has expired")]
    ExpiredKey,
}

/// Why a caller has no workflow for a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectError {
    /// The selected workflow does not exist, or is not the caller's. Which of the two is not said.
    #[error("the workflow does not exist or this caller may not use it")]
    NotEntitled,
    /// The caller has several workflows and selected none of them.
    #[error("this caller has several workflows, select one of: {}", names(.0))]
    Ambiguous(Vec<WorkflowName>),
}

fn names(workflows: &[WorkflowName]) -> String {
    workflows.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(", ")
}

impl Caller {
    fn loopback(workflows: &Arc<BTreeSet<WorkflowName>>) -> Self {
        let kind = CallerKind::Loopback;
        Self { kind, id: kind.as_str().into(), key: None, workflows: workflows.clone() }
    }

    /// Returns the workflows that are open to the caller.
    pub(crate) fn workflows(&self) -> impl Iterator<Item = &WorkflowName> {
        self.workflows.iter()
    }

    /// Returns how the caller was recognised.
    pub fn kind(&self) -> CallerKind {
        self.kind
    }

    /// Returns the id for records: the caller's name, its network, or `loopback`. It stays the same while keys come and go.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns which key was shown.
    pub fn key(&self) -> Option<&KeyId> {
        self.key.as_ref()
    }
}

impl CallerKind {
    /// Returns the word for records and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::ApiKey => "api_key",
            Self::Source => "source",
        }
    }
}

/// A key of the policy, for people who look after keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownKey<'p> {
    /// The key's id.
    pub id: &'p KeyId,
    /// Whose key it is; the id where the policy names nobody.
    pub caller: &'p str,
    /// The first moment at which it lets nobody in any more.
    pub expires: Option<Moment>,
    /// Where it lets its holder in.
    pub workflows: &'p BTreeSet<WorkflowName>,
}

/// All callers of a policy, from the callers' side.
#[derive(Debug)]
pub(crate) struct Callers {
    loopback: Arc<BTreeSet<WorkflowName>>,
    keys: BTreeMap<KeyId, KeyGrant>,
    /// The smallest networks first: an address belongs to the first one that it is in.
    sources: Vec<(IpNet, Arc<BTreeSet<WorkflowName>>)>,
}

#[derive(Debug)]
struct KeyGrant {
    rule: KeyRule,
    caller: Arc<str>,
    workflows: Arc<BTreeSet<WorkflowName>>,
}

/// What a key is compared with whose id nobody has. No key has this hash.
const NOBODY: Digest = Digest::new([0; 32]);

impl Callers {
    /// Turns the workflows' lists of callers into the callers' lists of workflows.
    pub(crate) fn of<'w>(workflows: impl Iterator<Item = &'w Workflow>) -> Self {
        let mut loopback = BTreeSet::new();
        let mut keys: BTreeMap<&KeyRule, BTreeSet<WorkflowName>> = BTreeMap::new();
        let mut sources: BTreeMap<IpNet, BTreeSet<WorkflowName>> = BTreeMap::new();
        for workflow in workflows {
            for caller in &workflow.callers {
                let open = match caller {
                    CallerRule::Loopback => &mut loopback,
                    CallerRule::ApiKey(rule) => keys.entry(rule).or_default(),
                    CallerRule::Source(network) => sources.entry(*network).or_default(),
                };
                open.insert(workflow.name.clone());
            }
        }
        let grant = |(rule, workflows): (&KeyRule, _)| {
            let grant =
                KeyGrant { rule: rule.clone(), caller: rule.caller().into(), workflows: Arc::new(workflows) };
            (rule.id.clone(), grant)
        };
        let mut sources: Vec<_> =
            sources.into_iter().map(|(network, workflows)| (network, Arc::new(workflows))).collect();
        sources.sort_by_key(|(network, _)| std::cmp::Reverse(network.prefix_len()));
        Self { loopback: Arc::new(loopback), keys: keys.into_iter().map(grant).collect(), sources }
    }

    /// Returns the caller that goes by a name at some time, without any proof: for tests and explanations inside this
    /// crate. The name is that of a key, or of the caller whose key it is.
    pub(crate) fn named(&self, who: &Who, now: Moment) -> Result<Caller, IdentityError> {
        let Who::ApiKey(name) = who else {
            let admitted = (!self.loopback.is_empty()).then(|| Caller::loopback(&self.loopback));
            return admitted.ok_or(IdentityError::Missing);
        };
        let of_caller = || self.keys.values().filter(move |grant| *grant.caller == *name.as_str());
        let is_good = |grant: &&KeyGrant| grant.rule.expires.is_none_or(|expires| now < expires);
        let by_id = self.keys.get(name);
        let grant = by_id.or_else(|| of_caller().find(is_good)).or_else(|| of_caller().next());
        let grant = grant.ok_or(IdentityError::UnknownKey)?;
        if is_good(&grant) { Ok(grant.caller()) } else { Err(IdentityError::ExpiredKey) }
    }

    /// Returns every caller of the gateway, for questions about all of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = Caller> {
        let loopback = (!self.loopback.is_empty()).then(|| Caller::loopback(&self.loopback));
        self.keys.values().map(KeyGrant::caller).chain(loopback)
    }

    /// Finds the key by its id, which is no secret, and compares the rest in constant time.
    fn find(&self, shown: Shown<'_>) -> Option<&KeyGrant> {
        let grant = self.keys.get(shown.id());
        // Compared too where there is nothing to compare with: an unknown id takes as long as a known one.
        let expected = grant.map_or(NOBODY, |grant| grant.rule.sha256);
        let is_same = bool::from(expected.as_bytes().ct_eq(shown.sha256().as_bytes()));
        grant.filter(|_| is_same)
    }
}

impl KeyGrant {
    fn caller(&self) -> Caller {
        let Self { rule, caller, workflows } = self;
        let key = Some(rule.id.clone());
        Caller { kind: CallerKind::ApiKey, id: caller.clone(), key, workflows: workflows.clone() }
    }
}

impl Policy {
    /// Finds out who is calling.
    ///
    /// A key that is shown must be right, even where no key is needed: a peer with a wrong one is mistaken
    /// about who it is.
    ///
    /// # Errors
    /// Returns [`IdentityError`] if the policy does not know the peer.
    pub fn identify(&self, presented: &Presented<'_>) -> Result<Caller, IdentityError> {
        let callers = self.callers();
        if let Some(api_key) = presented.api_key {
            let shown = Shown::parse(api_key).ok_or(IdentityError::NotAKey)?;
            let grant = callers.find(shown).ok_or(IdentityError::UnknownKey)?;
            if grant.rule.expires.is_some_and(|expires| presented.now >= expires) {
                return Err(IdentityError::ExpiredKey);
            }
            return Ok(grant.caller());
        }
        if presented.loopback && !callers.loopback.is_empty() {
            return Ok(Caller::loopback(&callers.loopback));
        }
        Err(IdentityError::Missing)
    }

    /// Finds out who asks the agents' proxy for a connection without showing a key: whoever is in a network that the
    /// policy names. The smallest network that holds the address counts.
    ///
    /// It is not for calls to the gateway, which [`Self::identify`] is about: a call reaches models and budgets, and
    /// an address proves nothing about who sends it.
    ///
    /// # Errors
    /// Returns [`IdentityError::Missing`] if no network holds the address.
    pub fn identify_source(&self, address: IpAddr) -> Result<Caller, IdentityError> {
        // A socket of both families shows an IPv4 peer as an IPv6 address.
        let address = address.to_canonical();
        let source = self.callers().sources.iter().find(|(network, _)| network.contains(&address));
        let (network, workflows) = source.ok_or(IdentityError::Missing)?;
        let id = network.to_string().into();
        Ok(Caller { kind: CallerKind::Source, id, key: None, workflows: workflows.clone() })
    }

    /// Returns every key that lets somebody in or did, by id.
    pub fn keys(&self) -> impl Iterator<Item = KnownKey<'_>> {
        self.callers().keys.values().map(|KeyGrant { rule, caller, workflows }| KnownKey {
            id: &rule.id,
            caller,
            expires: rule.expires,
            workflows,
        })
    }

    /// Finds the workflow of a request: the selected one, or the caller's only one.
    ///
    /// # Errors
    /// Returns [`SelectError`] if the selected workflow is not the caller's, or if nothing was selected and the
    /// caller has several.
    pub fn select(&self, caller: &Caller, selector: Option<&str>) -> Result<&Workflow, SelectError> {
        let name = match selector {
            Some(name) => caller.workflows.get(name),
            None if caller.workflows.len() > 1 => {
                return Err(SelectError::Ambiguous(caller.workflows.iter().cloned().collect()));
            }
            None => caller.workflows.first(),
        };
        // A caller may outlive the policy that recognised it, and its workflow be gone from this one.
        name.and_then(|name| self.workflow(name.as_str())).ok_or(SelectError::NotEntitled)
    }
}
