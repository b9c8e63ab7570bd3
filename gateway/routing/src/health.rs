//! Active health probes as a schedule: whom to ask when, and what the answers mean.
//!
//! Nothing is sent here. Whoever sends takes what is due, asks, and brings the result. A provider is asked again one
//! interval after it was asked before, give or take a tenth, so that gateways that started together drift apart. Two
//! results of a kind in a row change what is believed of it; until the first, it is believed to be well.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use crate::chance;

/// Results in a row that change what is believed.
pub const PROBES_TO_CHANGE: u32 = 2;

/// What is known of a provider from its probes. Calls read it without a lock.
#[derive(Debug)]
pub(crate) struct Health(AtomicBool);

impl Default for Health {
    fn default() -> Self {
        Self(AtomicBool::new(true))
    }
}

impl Health {
    pub(crate) fn is_up(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// What a probe found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probed {
    /// The answer was what it should be.
    Passed,
    /// There was none, or it said that the provider is not well.
    Failed,
}

/// What a result changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    CameUp,
    WentDown,
}

#[derive(Debug, Default)]
pub(crate) struct Schedule {
    watched: BTreeMap<Box<str>, Watched>,
}

#[derive(Debug)]
struct Watched {
    every: Duration,
    health: Arc<Health>,
    /// Nothing while a probe is on its way.
    due: Option<Duration>,
    /// Results in a row that speak against what is believed.
    against: u32,
    /// Which probe this is, for its jitter.
    count: u64,
}

impl Schedule {
    /// Watches exactly these providers, each `every` so often. One that was watched before keeps what is known of it;
    /// one that no longer is, is believed to be well.
    pub(crate) fn watch(&mut self, wanted: Vec<(Box<str>, Duration, Arc<Health>)>, seed: u64, now: Duration) {
        let mut before = std::mem::take(&mut self.watched);
        for (name, every, health) in wanted {
            let watched = match before.remove(&name) {
                Some(watched) if watched.every == every => watched,
                // The first probes of many providers are spread over the interval.
                other => Watched {
                    every,
                    against: 0,
                    count: other.map_or(0, |other| other.count),
                    due: Some(now + every.mul_f64(chance::unit(chance::hash(seed, name.as_bytes())))),
                    health,
                },
            };
            self.watched.insert(name, watched);
        }
        for gone in before.values() {
            gone.health.0.store(true, Relaxed);
        }
    }

    /// Takes the names of those that are to be asked now.
    pub(crate) fn take_due(&mut self, now: Duration) -> Vec<Box<str>> {
        let due = self.watched.iter_mut().filter(|(_, watched)| watched.due.is_some_and(|due| due <= now));
        due.map(|(name, watched)| {
            watched.due = None;
            name.clone()
        })
        .collect()
    }

    /// When the next one is to be asked.
    pub(crate) fn next_due(&self) -> Option<Duration> {
        self.watched.values().filter_map(|watched| watched.due).min()
    }

    /// Takes a result in. One that nobody waits for is ignored.
    pub(crate) fn probed(&mut self, name: &str, probed: Probed, seed: u64, now: Duration) -> Change {
        let Some(watched) = self.watched.get_mut(name).filter(|watched| watched.due.is_none()) else {
            return Change::None;
        };
        watched.count += 1;
        let jitter = chance::unit(chance::pair(chance::hash(seed, name.as_bytes()), watched.count));
        watched.due = Some(now + watched.every.mul_f64(0.9 + 0.2 * jitter));
        let is_up = probed == Probed::Passed;
        if is_up == watched.health.is_up() {
            watched.against = 0;
            return Change::None;
        }
        watched.against += 1;
        if watched.against < PROBES_TO_CHANGE {
            return Change::None;
        }
        watched.against = 0;
        watched.health.0.store(is_up, Relaxed);
        if is_up { Change::CameUp } else { Change::WentDown }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(10);

    fn watching(names: &[&str]) -> (Schedule, Vec<Arc<Health>>) {
        let mut schedule = Schedule::default();
        let health: Vec<Arc<Health>> = names.iter().map(|_| Arc::default()).collect();
        let wanted =
            names.iter().zip(&health).map(|(name, health)| ((*name).into(), EVERY, Arc::clone(health)));
        schedule.watch(wanted.collect(), 1, Duration::ZERO);
        (schedule, health)
    }

    /// Brings results one after the other, each when it is due; returns the belief after each.
    fn beliefs(results: &str) -> String {
        let (mut schedule, health) = watching(&["a"]);
        let mut seen = String::new();
        for result in results.chars() {
            let now = schedule.next_due().unwrap();
            assert_eq!(schedule.take_due(now), ["a".into()]);
            let probed = if result == '+' { Probed::Passed } else { Probed::Failed };
            schedule.probed("a", probed, 1, now);
            seen.push(if health[0].is_up() { 'U' } else { 'D' });
        }
        seen
    }

    #[test]
    fn two_results_in_a_row_change_the_belief() {
        assert_eq!(beliefs("+-+-+--"), "UUUUUUD");
        assert_eq!(beliefs("--+-++-"), "UDDDDUU");
    }

    #[test]
    fn probes_come_once_an_interval_give_or_take_a_tenth() {
        let (mut schedule, _) = watching(&["a"]);
        let mut before = None;
        let mut gaps = Vec::new();
        for _ in 0..200 {
            let now = schedule.next_due().unwrap();
            assert!(schedule.take_due(now.saturating_sub(Duration::from_nanos(1))).is_empty());
            assert_eq!(schedule.take_due(now).len(), 1);
            assert!(schedule.take_due(now + EVERY * 9).is_empty(), "one at a time");
            schedule.probed("a", Probed::Passed, 1, now);
            gaps.extend(before.map(|before: Duration| now.abs_diff(before).as_secs_f64()));
            before = Some(now);
        }
        assert!(gaps.iter().all(|gap| (9.0..=11.0).contains(gap)));
        assert!(gaps.iter().any(|gap| *gap < 9.3) && gaps.iter().any(|gap| *gap > 10.7), "and they vary");
    }

    #[test]
    fn first_probes_are_spread() {
        let names: Vec<String> = (0..50).map(|number| format!("p{number}")).collect();
        let (mut schedule, _) = watching(&names.iter().map(String::as_str).collect::<Vec<_>>());
        let first_half = schedule.take_due(EVERY / 2).len();
        assert!((10..40).contains(&first_half), "{first_half}");
        assert_eq!(schedule.take_due(EVERY).len(), 50 - first_half);
    }

    #[test]
    fn a_reload_keeps_what_is_known_and_forgets_who_is_gone() {
        let (mut schedule, health) = watching(&["a", "b"]);
        for round in 1..=PROBES_TO_CHANGE {
            let now = EVERY * 100 * round;
            schedule.take_due(now);
            schedule.probed("a", Probed::Failed, 1, now);
            schedule.probed("b", Probed::Failed, 1, now);
        }
        assert!(!health[0].is_up() && !health[1].is_up());
        schedule.watch(vec![("a".into(), EVERY, Arc::clone(&health[0]))], 1, EVERY * 500);
        assert!(!health[0].is_up(), "still watched, still down");
        assert!(health[1].is_up(), "nobody looks any more");
    }

    #[test]
    fn a_result_that_nobody_waits_for_changes_nothing() {
        let (mut schedule, health) = watching(&["a"]);
        for _ in 0..5 {
            schedule.probed("a", Probed::Failed, 1, Duration::ZERO);
        }
        assert!(health[0].is_up());
    }
}
