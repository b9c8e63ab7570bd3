//! The frame of a thread that owns a model: whatever happens inside, the outside learns that it has stopped.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use crate::LoadError;
use crate::stats::Counters;

/// Runs `work` on a thread of its own. When it returns or panics, what it holds is dropped, and then `counters` say
/// that it has stopped.
pub(crate) fn spawn(counters: Arc<Counters>, work: impl FnOnce() + Send + 'static) -> Result<(), LoadError> {
    let body = move || {
        // The closure is consumed: its readers' channels close, which they report as a failure.
        let outcome = std::panic::catch_unwind(AssertUnwindSafe(work));
        counters.stop();
        if outcome.is_err() {
            tracing::error!("the engine thread panicked and has stopped");
        }
    };
    let spawned = std::thread::Builder::new().name("engine".to_owned()).spawn(body);
    spawned.map(drop).map_err(LoadError::Thread)
}
