//! How long an upstream takes to begin its answer: a moving average that believes bad news at once.
//!
//! Peak-EWMA, as Finagle and Linkerd use it: a sample above the average replaces it, one below pulls it down by
//! `1 - exp(-age / DECAY)`, where `age` is the time since the sample before. Reading the average counts as a sample of
//! zero, so that one that was slow once is asked again some time.

use std::time::Duration;

/// How fast an average forgets, in seconds.
const DECAY_S: f64 = 10.0;

/// What a failure counts as, at least.
const PENALTY_MIN: Duration = Duration::from_secs(1);
/// What a failure counts as, at most: so much is forgotten within a minute or two.
const PENALTY_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Latency {
    seconds: f64,
    at: Duration,
}

impl Latency {
    /// What one more call would have to expect, in seconds times calls: `average x (calls in flight + 1)`.
    pub(crate) fn load(&self, inflight: u32, now: Duration) -> f64 {
        // One that nobody has heard of yet is taken for quick, until the first calls are on their way.
        let seconds = self.decayed(now).max(1e-3);
        seconds * f64::from(inflight.saturating_add(1))
    }

    /// An answer began after `taken`.
    pub(crate) fn observe(&mut self, taken: Duration, now: Duration) {
        let (taken, decayed) = (taken.as_secs_f64(), self.decayed(now));
        self.seconds = if taken > self.seconds { taken } else { decayed + taken * (1.0 - self.kept(now)) };
        self.at = self.at.max(now);
    }

    /// A call failed after `taken`: an upstream that fails quickly must not look quick.
    pub(crate) fn punish(&mut self, taken: Duration, now: Duration) {
        let twice = Duration::from_secs_f64(self.decayed(now) * 2.0);
        self.observe(taken.max(twice).clamp(PENALTY_MIN, PENALTY_MAX), now);
    }

    fn decayed(&self, now: Duration) -> f64 {
        self.seconds * self.kept(now)
    }

    fn kept(&self, now: Duration) -> f64 {
        (-now.saturating_sub(self.at).as_secs_f64() / DECAY_S).exp()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn bad_news_counts_at_once_and_good_news_slowly() {
        let mut latency = Latency::default();
        latency.observe(secs(0.1), secs(1.0));
        latency.observe(secs(2.0), secs(1.1));
        assert!((latency.load(0, secs(1.1)) - 2.0).abs() < 1e-9);
        latency.observe(secs(0.1), secs(2.1));
        let after = latency.load(0, secs(2.1));
        assert!((1.7..1.9).contains(&after), "a second later one good answer changes little: {after}");
    }

    #[test]
    fn silence_makes_it_worth_a_try() {
        let mut latency = Latency::default();
        latency.observe(secs(5.0), secs(0.0));
        assert!(latency.load(0, secs(10.0)) < 5.0 / 2.7);
        assert!(latency.load(0, secs(60.0)) < 0.02);
    }

    #[test]
    fn failing_quickly_is_not_being_quick() {
        let mut latency = Latency::default();
        latency.observe(secs(0.5), secs(0.0));
        latency.punish(secs(0.001), secs(0.0));
        assert!(latency.load(0, secs(0.0)) >= 1.0);
        (0..100).for_each(|_| latency.punish(secs(0.001), secs(0.0)));
        assert!(latency.load(0, secs(0.0)) <= 60.0);
    }

    #[test]
    fn calls_on_their_way_weigh() {
        let mut latency = Latency::default();
        latency.observe(secs(1.0), secs(0.0));
        assert!((latency.load(3, secs(0.0)) - 4.0).abs() < 1e-9);
    }
}
