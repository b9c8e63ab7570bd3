//! A question to the policy without a request: who would ask, what, and what would come of it.
//!
//! Callers are named here and not proven, which is right for a test or an explanation and for nothing else. So a
//! named caller never leaves this crate.

use std::fmt;

use super::place::Place;
use crate::decide::{Decision, Facts};
use crate::identity::{Caller, CallerKind, IdentityError, SelectError};
use crate::moment::Moment;
use crate::name::{KeyId, WorkflowName};
use crate::order::Order;
use crate::policy::Policy;
use crate::workflow::Workflow;

/// Who would call.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// A peer on this machine that shows no key.
    Loopback,
    /// The holder of an API key, by the key's id or by the name of the caller whose key it is.
    ApiKey(KeyId),
}

impl Who {
    /// Reads what a record says of a caller; nothing if it is of no kind that this program knows.
    pub fn recorded(kind: &str, id: &str) -> Option<Self> {
        match kind {
            kind if kind == CallerKind::Loopback.as_str() => Some(Self::Loopback),
            kind if kind == CallerKind::ApiKey.as_str() => KeyId::new(id).ok().map(Self::ApiKey),
            _ => None,
        }
    }

    /// Returns the caller if the policy knows it. Nobody has proven anything: see the head of this file.
    pub(crate) fn caller(&self, policy: &Policy, now: Moment) -> Result<Caller, IdentityError> {
        policy.callers().named(self, now)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loopback => f.write_str("loopback"),
            Self::ApiKey(id) => write!(f, "api_key {id}"),
        }
    }
}

/// One call, as far as the policy looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Who calls.
    pub who: Who,
    /// The workflow that the header or the path names.
    pub workflow: Option<String>,
    /// What is known of the request.
    pub facts: Facts,
}

impl Ask {
    /// Returns the caller, if the policy knows it at the time of the call.
    pub(crate) fn caller(&self, policy: &Policy) -> Result<Caller, IdentityError> {
        self.who.caller(policy, Moment::from_unix_s(self.facts.now))
    }
}

/// What the policy makes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is sent.
    Allow {
        /// The workflow that it belongs to.
        workflow: WorkflowName,
        /// The entry of the route that decided.
        rule: String,
        /// Where it may go, in the order of the entry.
        to: Vec<Place>,
        /// How the entry chooses among them, if not in that order.
        order: Option<String>,
        /// Where a copy goes, whose answer nobody gets.
        shadow: Option<Place>,
    },
    /// It is refused.
    Deny {
        /// The workflow, if one was selected before the refusal.
        workflow: Option<WorkflowName>,
        /// The code that the caller and the record see.
        code: &'static str,
        /// The part of the policy that refused.
        rule: String,
        /// The reason. It may repeat what the caller wrote.
        message: String,
    },
}

impl Outcome {
    /// Returns `allow` or `deny`.
    pub fn decision(&self) -> &'static str {
        match self {
            Self::Allow { .. } => "allow",
            Self::Deny { .. } => "deny",
        }
    }

    /// Returns the refusal's code.
    pub fn code(&self) -> Option<&'static str> {
        match self {
            Self::Allow { .. } => None,
            Self::Deny { code, .. } => Some(code),
        }
    }

    /// Returns the part of the policy that decided.
    pub fn rule(&self) -> &str {
        match self {
            Self::Allow { rule, .. } | Self::Deny { rule, .. } => rule,
        }
    }

    /// Returns the workflow that decided, if one was selected.
    pub(crate) fn workflow(&self) -> Option<&WorkflowName> {
        match self {
            Self::Allow { workflow, .. } => Some(workflow),
            Self::Deny { workflow, .. } => workflow.as_ref(),
        }
    }

    /// Returns the targets in order; none if the call is refused.
    pub fn to(&self) -> &[Place] {
        match self {
            Self::Allow { to, .. } => to,
            Self::Deny { .. } => &[],
        }
    }

    /// Returns every place that a byte of the call can reach, copies among them.
    pub(crate) fn reached(&self) -> impl Iterator<Item = &Place> {
        let shadow = match self {
            Self::Allow { shadow, .. } => shadow.as_ref(),
            Self::Deny { .. } => None,
        };
        self.to().iter().chain(shadow)
    }

    /// Returns the outcome in a few words, without the rule: two outcomes with the same words are the same to a caller.
    pub(crate) fn in_short(&self) -> String {
        match self {
            Self::Deny { code, .. } => format!("denied, {code}"),
            Self::Allow { to, order, shadow, .. } => {
                let names: Vec<&str> = to.iter().map(|place| place.model.as_str()).collect();
                let order = order.as_ref().map(|order| format!(", {order}")).unwrap_or_default();
                let shadow =
                    shadow.as_ref().map(|place| format!(", a copy to {}", place.model)).unwrap_or_default();
                format!("to [{}]{order}{shadow}", names.join(", "))
            }
        }
    }

    /// Describes a decision about a call of `workflow`.
    pub(crate) fn of(workflow: &Workflow, decision: Decision) -> Self {
        match decision {
            Decision::Allow(admitted) => Self::Allow {
                workflow: admitted.workflow().clone(),
                rule: admitted.rule().to_owned(),
                to: Place::all(admitted.hops()),
                order: order(admitted.order()),
                shadow: admitted.shadow().map(|hop| Place::of(&hop.0)),
            },
            Decision::Deny(denial) => Self::Deny {
                workflow: Some(workflow.name.clone()),
                code: denial.code.as_str(),
                rule: denial.rule,
                message: denial.message,
            },
        }
    }
}

/// How an entry chooses, in words; nothing for the order of the list.
fn order(order: &Order) -> Option<String> {
    match order {
        Order::Listed => None,
        Order::Split(weights) => {
            let weights: Vec<String> = weights.iter().map(ToString::to_string).collect();
            Some(format!("split {}", weights.join(":")))
        }
        Order::Balance(balance) => Some(format!("balanced by {}", balance.as_str())),
    }
}

/// The code of a caller that the policy does not know, as the gateway answers it.
pub(crate) fn identity_code(error: IdentityError) -> &'static str {
    match error {
        IdentityError::Missing => "missing_api_key",
        IdentityError::NotAKey | IdentityError::UnknownKey => "invalid_api_key",
        IdentityError::ExpiredKey => "key_expired",
    }
}

/// The code of a caller that has no workflow for its call, as the gateway answers it.
pub(crate) fn select_code(error: &SelectError) -> &'static str {
    match error {
        SelectError::NotEntitled => "workflow_not_allowed",
        SelectError::Ambiguous(_) => "workflow_ambiguous",
    }
}

impl Policy {
    /// Works out what would become of a call: who it is from, which workflow it belongs to, where it goes.
    pub fn answer(&self, ask: &Ask) -> Outcome {
        let deny =
            |code, message: String| Outcome::Deny { workflow: None, code, rule: CALLERS.to_owned(), message };
        let caller = match ask.caller(self) {
            Ok(caller) => caller,
            Err(error) => return deny(identity_code(error), error.to_string()),
        };
        match self.select(&caller, ask.workflow.as_deref()) {
            Ok(workflow) => Outcome::of(workflow, self.decide(workflow, &ask.facts)),
            Err(error) => deny(select_code(&error), error.to_string()),
        }
    }
}

/// The part of the policy that refuses before there is a workflow.
const CALLERS: &str = "workflows.*.callers";
