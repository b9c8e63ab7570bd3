//! Who is calling, and for which workflows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use subtle::{ConditionallySelectable, ConstantTimeEq};

use crate::digest::Digest;
use crate::name::{KeyId, WorkflowName};
use crate::policy::Policy;
use crate::workflow::Workflow;

/// What a peer shows of itself.
#[derive(Clone, Copy)]
pub struct Presented<'a> {
    /// Whether the peer's address is a loopback address.
    pub loopback: bool,
    /// The API key that came with the request.
    pub api_key: Option<&'a str>,
}

/// One way to be a caller of a workflow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum CallerRule {
    Loopback,
    ApiKey { id: KeyId, sha256: Digest },
}

/// Somebody whom the policy knows, with the workflows that are open to them.
#[derive(Debug, Clone)]
pub struct Caller {
    kind: CallerKind,
    id: Arc<str>,
    workflows: Arc<BTreeSet<WorkflowName>>,
}

/// How a caller was recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallerKind {
    /// By being on this machine.
    Loopback,
    /// By an API key.
    ApiKey,
}

/// Why a peer is not a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The peer showed nothing and is not trusted for where it is.
    #[error("an API key is required")]
    Missing,
    /// The peer showed a key that the policy does not know.
    #[error("the API key is not known")]
    UnknownKey,
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
    /// Returns how the caller was recognised.
    pub fn kind(&self) -> CallerKind {
        self.kind
    }

    /// Returns the id for records: the key's id, or `loopback`.
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl CallerKind {
    /// Returns the word for records and metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Loopback => "loopback",
            Self::ApiKey => "api_key",
        }
    }
}

/// All callers of a policy, from the callers' side.
#[derive(Debug)]
pub(crate) struct Callers {
    loopback: Arc<BTreeSet<WorkflowName>>,
    keys: Vec<KeyGrant>,
}

#[derive(Debug)]
struct KeyGrant {
    sha256: Digest,
    id: Arc<str>,
    workflows: Arc<BTreeSet<WorkflowName>>,
}

impl Callers {
    /// Turns the workflows' lists of callers into the callers' lists of workflows.
    pub(crate) fn of<'w>(workflows: impl Iterator<Item = &'w Workflow>) -> Self {
        let mut loopback = BTreeSet::new();
        let mut keys: BTreeMap<(Digest, &KeyId), BTreeSet<WorkflowName>> = BTreeMap::new();
        for workflow in workflows {
            for caller in &workflow.callers {
                let open = match caller {
                    CallerRule::Loopback => &mut loopback,
                    CallerRule::ApiKey { id, sha256 } => keys.entry((*sha256, id)).or_default(),
                };
                open.insert(workflow.name.clone());
            }
        }
        let keys = keys.into_iter().map(|((sha256, id), workflows)| KeyGrant {
            sha256,
            id: id.as_str().into(),
            workflows: Arc::new(workflows),
        });
        Self { loopback: Arc::new(loopback), keys: keys.collect() }
    }

    /// Finds the key in time that depends on how many keys there are, and not on which of them it is.
    fn find(&self, api_key: &str) -> Option<&KeyGrant> {
        let sha256 = Digest::of(api_key.as_bytes());
        let mut found = 0_u64;
        for (number, key) in (1..).zip(&self.keys) {
            found.conditional_assign(&number, key.sha256.as_bytes().ct_eq(sha256.as_bytes()));
        }
        let index = usize::try_from(found).ok()?.checked_sub(1)?;
        self.keys.get(index)
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
            let KeyGrant { id, workflows, .. } = callers.find(api_key).ok_or(IdentityError::UnknownKey)?;
            let (id, workflows) = (id.clone(), workflows.clone());
            return Ok(Caller { kind: CallerKind::ApiKey, id, workflows });
        }
        if presented.loopback && !callers.loopback.is_empty() {
            let kind = CallerKind::Loopback;
            return Ok(Caller { kind, id: kind.as_str().into(), workflows: callers.loopback.clone() });
        }
        Err(IdentityError::Missing)
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
