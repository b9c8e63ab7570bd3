//! Whether an engine that takes calls is of use. Pure: the time and the readings are arguments.
//!
//! A thread that is alive proves nothing. What counts is progress while there is work, and an answer to a canary while
//! there is none.
//!
//! | seen | means |
//! |---|---|
//! | requests, and no step ended for [`Times::stall`] | stuck: nobody is sent there until steps end again |
//! | a canary that is not answered in [`Times::canary_limit`] | mute: the same |
//! | [`FAILED_STEPS_MAX`] steps in a row that failed for all, or [`FAILED_CANARIES_MAX`] canaries that failed | broken: it is started again |

use std::time::Duration;

/// Steps in a row that fail for everybody in them: more than one bad request can cause.
const FAILED_STEPS_MAX: u64 = 3;

/// Canaries in a row that fail.
const FAILED_CANARIES_MAX: u32 = 2;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// Between two looks.
    pub(crate) look: Duration,
    /// Between the steps of an engine with work. A step of a large model on a CPU takes seconds.
    pub(crate) stall: Duration,
    /// Between two canaries of an engine without work.
    pub(crate) canary: Duration,
    /// For the answer to one.
    pub(crate) canary_limit: Duration,
    /// For replies that still run when a model is to go.
    pub(crate) drain: Duration,
}

impl Times {
    /// As a server has them, but for the drain, which is a setting.
    pub(crate) fn standard(drain: Duration) -> Self {
        Self {
            look: Duration::from_secs(1),
            stall: Duration::from_secs(60),
            canary: Duration::from_secs(30),
            canary_limit: Duration::from_secs(10),
            drain,
        }
    }
}

/// What an engine says of itself.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) requests: u64,
    pub(super) steps: u64,
    pub(super) failed_steps: u64,
}

/// What a look comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finding {
    /// As before.
    Same,
    /// Ask it for a token.
    AskCanary,
    /// Start it again.
    Broken(&'static str),
}

/// Whether calls should go there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Well,
    /// It has work and makes no progress.
    Stuck,
    /// A canary failed or was not answered.
    Mute,
}

impl Health {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Stuck => "stuck",
            Self::Mute => "mute",
        }
    }
}

/// What became of a canary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Canary {
    Answered,
    Failed,
    Late,
}

/// Watches one engine.
#[derive(Debug)]
pub(super) struct Watchdog {
    times: Times,
    steps: u64,
    /// When a step last ended, or there was nothing to do.
    moved: Duration,
    /// When a canary was last asked or answered.
    asked: Duration,
    failed: u32,
    health: Health,
}

impl Watchdog {
    /// Begins with an engine that has just answered a canary.
    pub(super) fn new(times: Times, now: Duration) -> Self {
        Self { times, steps: 0, moved: now, asked: now, failed: 0, health: Health::Well }
    }

    pub(super) fn health(&self) -> Health {
        self.health
    }

    /// Takes a reading in.
    pub(super) fn look(&mut self, seen: Seen, now: Duration) -> Finding {
        if seen.failed_steps >= FAILED_STEPS_MAX {
            return Finding::Broken("every step fails");
        }
        if seen.steps != self.steps || seen.requests == 0 {
            (self.steps, self.moved) = (seen.steps, now);
            if self.health == Health::Stuck {
                self.health = Health::Well;
            }
        } else if now.saturating_sub(self.moved) >= self.times.stall {
            self.health = Health::Stuck;
        }
        let is_due = now.saturating_sub(self.asked) >= self.times.canary;
        if seen.requests == 0 && is_due {
            self.asked = now;
            return Finding::AskCanary;
        }
        Finding::Same
    }

    /// Takes the end of a canary in.
    pub(super) fn canary(&mut self, canary: Canary, now: Duration) -> Finding {
        self.asked = now;
        match canary {
            Canary::Answered => {
                self.failed = 0;
                if self.health == Health::Mute {
                    self.health = Health::Well;
                }
                return Finding::Same;
            }
            Canary::Failed => self.failed += 1,
            // It may be slow; whether it is stuck, the steps say.
            Canary::Late => {}
        }
        if self.health == Health::Well {
            self.health = Health::Mute;
        }
        if self.failed >= FAILED_CANARIES_MAX {
            Finding::Broken("it answers no canary")
        } else {
            Finding::Same
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn watchdog() -> Watchdog {
        Watchdog::new(Times::standard(Duration::ZERO), Duration::ZERO)
    }

    fn busy(steps: u64) -> Seen {
        Seen { requests: 1, steps, failed_steps: 0 }
    }

    #[test]
    fn work_without_steps_is_stuck_until_steps_end_again() {
        let mut dog = watchdog();
        dog.look(Seen::default(), seconds(10));
        for second in 11..70 {
            assert_eq!(dog.look(busy(0), seconds(second)), Finding::Same);
            assert_eq!(dog.health(), Health::Well, "{second}");
        }
        dog.look(busy(0), seconds(70));
        assert_eq!(dog.health(), Health::Stuck);
        dog.look(busy(1), seconds(500));
        assert_eq!(dog.health(), Health::Well);
    }

    #[test]
    fn an_engine_that_steps_is_well_however_long_its_work_takes() {
        let mut dog = watchdog();
        for second in 0..1000 {
            assert_eq!(dog.look(busy(second / 50), seconds(second)), Finding::Same, "and asked nothing");
            assert_eq!(dog.health(), Health::Well);
        }
    }

    #[test]
    fn an_idle_engine_is_asked_now_and_then() {
        let mut dog = watchdog();
        let asked =
            (0..=90).filter(|second| dog.look(Seen::default(), seconds(*second)) == Finding::AskCanary);
        assert_eq!(asked.collect::<Vec<_>>(), [30, 60, 90]);
    }

    #[test]
    fn a_late_canary_is_no_reason_to_start_again_and_a_failed_one_is_after_the_second() {
        let mut dog = watchdog();
        for second in 0..10 {
            assert_eq!(dog.canary(Canary::Late, seconds(second)), Finding::Same);
            assert_eq!(dog.health(), Health::Mute);
        }
        dog.canary(Canary::Answered, seconds(10));
        assert_eq!(dog.health(), Health::Well);
        assert_eq!(dog.canary(Canary::Failed, seconds(11)), Finding::Same);
        dog.canary(Canary::Answered, seconds(12));
        assert_eq!(dog.canary(Canary::Failed, seconds(13)), Finding::Same);
        assert!(matches!(dog.canary(Canary::Failed, seconds(14)), Finding::Broken(_)));
    }

    #[test]
    fn steps_that_all_fail_are_broken() {
        let mut dog = watchdog();
        let seen = |failed_steps| Seen { requests: 1, steps: failed_steps, failed_steps };
        assert_eq!(dog.look(seen(2), seconds(1)), Finding::Same);
        assert!(matches!(dog.look(seen(3), seconds(2)), Finding::Broken(_)));
    }
}
