//! How often a hub is asked again, and how long we wait before.

use std::time::Duration;

use crate::client::Pause;
use crate::error::HubError;
use crate::fetch::{Event, OnEvent};

/// Tries in a row that bring nothing. With the waits between them, an outage of a quarter of a minute is sat out.
const TRIES_MAX: u32 = 5;
/// First wait; each further one is twice as long.
const WAIT_FIRST: Duration = Duration::from_secs(1);
/// Longest wait that a hub may ask for: a window of its rate limit. For a longer one it is better to tell the person.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// How one try failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A second try is worth it, perhaps only after a time that the hub gave.
    Passing { error: HubError, retry_after: Option<Duration> },
    /// It is not.
    Final(HubError),
}

impl Failure {
    /// A failure that may pass by itself.
    pub(crate) fn passing(error: HubError) -> Self {
        Self::Passing { error, retry_after: None }
    }
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

/// The tries of one download.
pub(crate) struct Tries<'a> {
    pause: &'a Pause,
    failed: u32,
}

impl<'a> Tries<'a> {
    pub(crate) fn new(pause: &'a Pause) -> Self {
        Self { pause, failed: 0 }
    }

    /// Notes that a try brought something: the next failure is the first again.
    pub(crate) fn progressed(&mut self) {
        self.failed = 0;
    }

    /// Waits for the next try.
    ///
    /// # Errors
    /// Returns the failure's error if there is no next try.
    pub(crate) fn again(&mut self, failure: Failure, on_event: &mut OnEvent<'_>) -> Result<(), HubError> {
        let (error, retry_after) = match failure {
            Failure::Final(error) => return Err(error),
            Failure::Passing { error, retry_after } => (error, retry_after),
        };
        self.failed += 1;
        let wait = retry_after.unwrap_or(WAIT_FIRST * 2u32.pow(self.failed - 1));
        if self.failed == TRIES_MAX || wait > RETRY_AFTER_MAX {
            return Err(error);
        }
        on_event(&Event::Again { error: &error, wait });
        (self.pause)(wait);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn busy(retry_after: Option<Duration>) -> Failure {
        let error =
            HubError::Busy { host: "hub".to_owned(), status: 503, message: String::new(), retry_after };
        Failure::Passing { error, retry_after }
    }

    /// The seconds waited for each failure in turn, and whether there was a next try after the last.
    fn waits(failures: impl IntoIterator<Item = Failure>) -> (Vec<u64>, bool) {
        let waited = Arc::new(Mutex::new(Vec::new()));
        let pause: Pause = {
            let waited = Arc::clone(&waited);
            Arc::new(move |wait| waited.lock().unwrap().push(wait.as_secs()))
        };
        let mut tries = Tries::new(&pause);
        let mut goes_on = true;
        for failure in failures {
            assert!(goes_on, "there was no next try");
            goes_on = tries.again(failure, &mut |_| ()).is_ok();
        }
        let waited = waited.lock().unwrap().clone();
        (waited, goes_on)
    }

    #[test]
    fn waits_grow_and_end() {
        assert_eq!(waits((0..4).map(|_| busy(None))), (vec![1, 2, 4, 8], true));
        assert_eq!(waits((0..5).map(|_| busy(None))), (vec![1, 2, 4, 8], false));
    }

    #[test]
    fn a_hub_says_when_but_not_in_an_hour() {
        let after = |seconds| busy(Some(Duration::from_secs(seconds)));
        assert_eq!(waits([after(7), after(0)]), (vec![7, 0], true));
        assert_eq!(waits([after(3600)]), (vec![], false));
    }

    #[test]
    fn progress_begins_the_count_anew() {
        let pause: Pause = Arc::new(|_| ());
        let mut tries = Tries::new(&pause);
        for _ in 0..20 {
            tries.progressed();
            assert!(tries.again(busy(None), &mut |_| ()).is_ok());
        }
    }
}
