//! Waiting that comes to an end: what a test waits for is there soon, or the test fails and says what was missing.

use std::time::Duration;

/// Far longer than anything takes on a busy machine, far shorter than anyone waits for a test run.
const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at something that cannot be awaited.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Waits for `event`.
#[track_caller]
pub(crate) fn within<T>(what: &str, event: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        let Ok(value) = tokio::time::timeout(PATIENCE, event).await else {
            panic!("{place}: {what}: not within {PATIENCE:?}");
        };
        value
    }
}

/// Looks again and again until `look` finds something.
#[track_caller]
pub(crate) fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> impl Future<Output = T> {
    within(what, async move {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    })
}
