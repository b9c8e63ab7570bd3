//! What the list of revocations means for a call: refused at the door, or cut where it is.
//!
//! The list is asked three times. When a call is admitted; before it goes to a destination, where another one may
//! stand in for a provider that is revoked; and all the while that it runs, because a key that was found in public
//! must not go on talking for the ten minutes that an answer takes. (`egress` asks once more, at every dial and every
//! use of a kept connection.)

use std::sync::Arc;

use policy::{Admitted, Caller, Hop, Revocations, Revoked, WorkflowName};
use tokio::sync::watch;

use crate::error::ApiError;

/// The code of refusals, for clients, records and metrics.
pub(crate) const CODE: &str = "revoked";

/// The refusal in the client's terms. Which list says so is no secret; why is the operator's.
pub(crate) fn error(revoked: Revoked) -> ApiError {
    let what = match revoked {
        Revoked::Caller => "this caller is revoked",
        Revoked::Key => "this API key is revoked",
        Revoked::Workflow => "this workflow is revoked",
        Revoked::Provider | Revoked::Host => "the provider behind this model is revoked",
    };
    ApiError::forbidden(CODE, format!("{what}; ask your platform team"))
}

/// Says what is revoked if a call has no place left to go to.
pub(crate) fn everywhere(list: &Revocations, admitted: &Admitted) -> Option<Revoked> {
    let mut found = None;
    for hop in admitted.hops() {
        found = Some(list.of_hop(hop)?);
    }
    found
}

/// Watches the list for one call.
#[derive(Clone)]
pub(crate) struct Watch {
    list: watch::Receiver<Arc<Revocations>>,
    parts: Parts,
}

/// What of a call can be revoked.
#[derive(Clone)]
struct Parts {
    caller: Caller,
    workflow: WorkflowName,
    hop: Option<Hop>,
}

impl Parts {
    fn in_list(&self, list: &Revocations) -> Option<Revoked> {
        let admitted = list.of_caller(&self.caller).or_else(|| list.of_workflow(&self.workflow));
        admitted.or_else(|| list.of_hop(self.hop.as_ref()?))
    }
}

impl Watch {
    /// Begins to watch for a call that goes nowhere yet.
    pub(crate) fn new(
        mut list: watch::Receiver<Arc<Revocations>>,
        caller: &Caller,
        workflow: &WorkflowName,
    ) -> Self {
        // Whatever came since somebody looked is looked at again.
        list.mark_changed();
        Self { list, parts: Parts { caller: caller.clone(), workflow: workflow.clone(), hop: None } }
    }

    /// The call now goes to `hop`.
    pub(crate) fn toward(&mut self, hop: &Hop) {
        self.parts.hop = Some(hop.clone());
        self.list.mark_changed();
    }

    /// What of the call is revoked.
    pub(crate) fn found(&self) -> Option<Revoked> {
        self.parts.in_list(&self.list.borrow())
    }

    /// What of the call has been revoked since the last look; costs one load as long as the list is the same.
    pub(crate) fn news(&mut self) -> Option<Revoked> {
        let is_new = self.list.has_changed().unwrap_or(false);
        if is_new { self.parts.in_list(&self.list.borrow_and_update()) } else { None }
    }

    /// Waits until some of the call is revoked. Cancel safe.
    pub(crate) async fn happens(&mut self) -> Revoked {
        loop {
            if let Some(revoked) = self.news() {
                return revoked;
            }
            if self.list.changed().await.is_err() {
                // Nobody can revoke anything any more: the process ends.
                std::future::pending::<()>().await;
            }
            self.list.mark_changed();
        }
    }
}
