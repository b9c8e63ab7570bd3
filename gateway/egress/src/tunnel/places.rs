//! How many connections each workflow has open.
//!
//! One workflow must not take the descriptors and ports that the others need. Deliberately absent: a queue. An agent
//! that is told at once can say what is wrong; one that waits cannot.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use policy::WorkflowName;

/// The connections of all workflows. The lock is held for one look at the map.
#[derive(Debug, Default)]
pub(super) struct Places(Mutex<HashMap<WorkflowName, u32>>);

/// One connection's place, free again when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    workflow: WorkflowName,
}

impl Places {
    /// Takes a place, unless the workflow has `max` of them.
    pub(super) fn take(self: &Arc<Self>, workflow: &WorkflowName, max: u32) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.get(workflow).copied().unwrap_or(0);
        if count >= max {
            return None;
        }
        taken.insert(workflow.clone(), count + 1);
        Some(Place { places: Arc::clone(self), workflow: workflow.clone() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.workflow) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.workflow);
            }
        }
    }
}
