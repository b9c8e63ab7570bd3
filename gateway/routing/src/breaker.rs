//! The circuit breaker of one upstream: stops asking what does not answer, and finds out when it does again.
//!
//! ```text
//! closed ── so many failures in the window ──> open ── open_for ──> half open
//!    ^                                         ^                     │    │
//!    └───── two trials in a row answered ──────┼─────────────────────┘    │
//!                                              └──── one trial failed ────┘
//! ```
//!
//! So many failures open it if they came in a row, which is how a busy upstream dies, or if they are at least half of
//! what ended in the window, which is how one half works. An answer counts when it begins.
//!
//! While it is open no call goes out; while it is half open one trial does at a time. So over a time `t` an upstream
//! that is dead costs no more than the failures that opened the breaker, the calls that were on their way at that
//! moment, and `t / open_for + 1` trials. Verdicts on calls from before the breaker last opened are not heard.
//!
//! Deliberately absent: growing waits. `open_for` is what the policy says, every time.

use std::time::Duration;

/// In how many parts the window moves on.
const PARTS: u32 = 8;
/// Trials in a row that must be answered before the breaker closes.
const TRIALS: u32 = 2;

/// When a breaker opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerRule {
    /// Failures within the window that open it, in a row or as half of what ended in it. At least 1.
    pub failures: u32,
    /// The time over which failures are counted.
    pub window: Duration,
    /// How long nothing is sent before a trial.
    pub open_for: Duration,
}

/// What a breaker says of an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Calls go out.
    Closed,
    /// Nothing is sent before this time.
    Open(Duration),
    /// One call at a time goes out, to see.
    HalfOpen,
}

/// Which period of a breaker a call belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pass {
    epoch: u64,
    is_trial: bool,
}

#[derive(Debug)]
pub(crate) struct Breaker {
    state: State,
    /// Counts how often it opened: a verdict from before says nothing about now.
    epoch: u64,
    window: Window,
    /// Failures since the last answer.
    in_a_row: u32,
    /// A trial is on its way.
    is_trying: bool,
    /// Trials in a row that were answered.
    answered: u32,
}

impl Breaker {
    pub(crate) fn new() -> Self {
        Self {
            state: State::Closed,
            epoch: 0,
            window: Window::default(),
            in_a_row: 0,
            is_trying: false,
            answered: 0,
        }
    }

    /// The state at `now`: an open breaker whose time is over is half open.
    pub(crate) fn state(&self, now: Duration) -> State {
        match self.state {
            State::Open(until) if now >= until => State::HalfOpen,
            state => state,
        }
    }

    /// How often it has opened.
    pub(crate) fn opened(&self) -> u64 {
        self.epoch
    }

    /// Whether a call could go out at `now`; if not, when it makes sense to ask again.
    pub(crate) fn bars(&self, now: Duration) -> Option<Duration> {
        match self.state(now) {
            State::Closed => None,
            State::Open(until) => Some(until),
            State::HalfOpen => self.is_trying.then_some(now),
        }
    }

    /// Lets a call out, or says when it makes sense to ask again.
    pub(crate) fn admit(&mut self, now: Duration) -> Result<Pass, Duration> {
        if let Some(until) = self.bars(now) {
            return Err(until);
        }
        self.state = self.state(now);
        let is_trial = self.state == State::HalfOpen;
        self.is_trying |= is_trial;
        Ok(Pass { epoch: self.epoch, is_trial })
    }

    /// An answer began.
    pub(crate) fn answered(&mut self, pass: Pass, rule: &BreakerRule, now: Duration) {
        if pass.epoch != self.epoch {
            return;
        }
        self.window.at(now, rule.window).answered += 1;
        self.in_a_row = 0;
        if !pass.is_trial {
            return;
        }
        self.is_trying = false;
        self.answered += 1;
        if self.answered >= TRIALS {
            self.state = State::Closed;
            self.window = Window::default();
        }
    }

    /// The upstream is to blame for a failure.
    pub(crate) fn failed(&mut self, pass: Pass, rule: &BreakerRule, now: Duration) {
        if pass.epoch != self.epoch {
            return;
        }
        if self.state == State::HalfOpen {
            return self.open(rule, now);
        }
        self.window.at(now, rule.window).failed += 1;
        let (answered, failed) = self.window.sums();
        self.in_a_row += 1;
        let enough = rule.failures.max(1);
        if failed >= enough && (self.in_a_row >= enough || failed >= answered) {
            self.open(rule, now);
        }
    }

    /// A call ended without a verdict: somebody else may try.
    pub(crate) fn forgotten(&mut self, pass: Pass) {
        if pass.epoch == self.epoch && pass.is_trial {
            self.is_trying = false;
        }
    }

    /// Something else knows that the upstream lives: the next call is a trial, however long the wait was to be.
    pub(crate) fn hurry(&mut self, now: Duration) {
        if let State::Open(until) = &mut self.state {
            *until = (*until).min(now);
        }
    }

    fn open(&mut self, rule: &BreakerRule, now: Duration) {
        self.state = State::Open(now + rule.open_for);
        self.epoch += 1;
        self.window = Window::default();
        self.in_a_row = 0;
        self.is_trying = false;
        self.answered = 0;
    }
}

/// What ended in the last while, in parts that are forgotten one by one.
#[derive(Debug, Default)]
struct Window {
    parts: [Counts; PARTS as usize],
    /// The length of one part.
    part: Duration,
    /// The number of the newest part since the beginning of time.
    newest: u128,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    answered: u32,
    failed: u32,
}

impl Window {
    /// The part of `now`, with everything older than `length` forgotten.
    fn at(&mut self, now: Duration, length: Duration) -> &mut Counts {
        let part = (length / PARTS).max(Duration::from_millis(1));
        if part != self.part {
            // The first call, or the first under another policy.
            *self = Self { part, ..Self::default() };
        }
        // Time that goes back is the same part: a little late is no harm.
        let number = (now.as_nanos() / part.as_nanos()).max(self.newest);
        let gone = (number - self.newest).min(u128::from(PARTS));
        for step in 1..=gone {
            self.parts[((self.newest + step) % u128::from(PARTS)) as usize] = Counts::default();
        }
        self.newest = number;
        &mut self.parts[(self.newest % u128::from(PARTS)) as usize]
    }

    fn sums(&self) -> (u32, u32) {
        self.parts.iter().fold((0, 0), |(a, f), part| (a + part.answered, f + part.failed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: BreakerRule =
        BreakerRule { failures: 3, window: Duration::from_secs(8), open_for: Duration::from_secs(10) };

    fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Plays a script: `F` a call that fails, `A` one that is answered, `-` one that is let out and forgotten, `x` one
    /// that is not let out, `>n` the time is now n seconds.
    fn play(script: &str) -> (Breaker, Duration) {
        let (mut breaker, mut now) = (Breaker::new(), Duration::ZERO);
        for word in script.split_whitespace() {
            if let Some(time) = word.strip_prefix('>') {
                now = secs(time.parse().unwrap());
                continue;
            }
            let pass = breaker.admit(now);
            match (word, pass) {
                ("F", Ok(pass)) => breaker.failed(pass, &RULE, now),
                ("A", Ok(pass)) => breaker.answered(pass, &RULE, now),
                ("-", Ok(pass)) => breaker.forgotten(pass),
                ("x", Err(_)) => {}
                (word, pass) => panic!("`{word}` met {pass:?} at {now:?} in `{script}`"),
            }
        }
        (breaker, now)
    }

    fn check(script: &str, expected: State) {
        let (breaker, now) = play(script);
        assert_eq!(breaker.state(now), expected, "{script}");
    }

    #[test]
    fn failures_in_the_window_open_it() {
        check("F F", State::Closed);
        check("F F F x", State::Open(secs(10)));
    }

    #[test]
    fn failures_that_are_long_ago_do_not() {
        check("F F >9 F", State::Closed);
        check("F >4 F >7 F", State::Open(secs(17)));
        check("F >4 F >8 F", State::Closed);
        check("F F >1000000 F", State::Closed);
    }

    #[test]
    fn few_failures_among_many_answers_do_not() {
        check("A A A A F F A F F A F", State::Closed);
        check("A A F F A F x", State::Open(secs(10)));
    }

    #[test]
    fn failures_in_a_row_open_it_however_many_answers_there_were() {
        check(&format!("{} F F", "A ".repeat(100)), State::Closed);
        check(&format!("{} F F F", "A ".repeat(100)), State::Open(secs(10)));
        check(&format!("{} F >20 A >27 F F", "A ".repeat(100)), State::Closed);
    }

    #[test]
    fn it_stays_open_for_its_time_and_then_lets_one_trial_out() {
        check("F F F >9 x", State::Open(secs(10)));
        check("F F F >10", State::HalfOpen);
        let (mut breaker, now) = play("F F F >10");
        assert!(breaker.admit(now).is_ok());
        assert!(breaker.admit(now).is_err(), "a second one has to wait for the first");
    }

    #[test]
    fn two_answered_trials_close_it_and_one_failed_opens_it() {
        check("F F F >10 A", State::HalfOpen);
        check("F F F >10 A A", State::Closed);
        check("F F F >10 F x", State::Open(secs(20)));
        check("F F F >10 A F x", State::Open(secs(20)));
        check("F F F >10 A F >20 A", State::HalfOpen);
    }

    #[test]
    fn failures_from_before_it_opened_are_forgotten_once_it_closed() {
        check("F F F >10 A A F F", State::Closed);
    }

    #[test]
    fn a_trial_without_a_verdict_makes_room_for_the_next() {
        check("F F F >10 - A A", State::Closed);
        check("F F F >10 A - A", State::Closed);
    }

    #[test]
    fn verdicts_from_before_it_opened_are_not_heard() {
        let (mut breaker, now) = play("");
        let passes: Vec<Pass> = (0..6).map(|_| breaker.admit(now).unwrap()).collect();
        passes[..3].iter().for_each(|pass| breaker.failed(*pass, &RULE, now));
        assert_eq!(breaker.state(now), State::Open(secs(10)));
        breaker.failed(passes[3], &RULE, secs(5));
        assert_eq!(breaker.state(secs(5)), State::Open(secs(10)), "a late failure does not prolong it");
        breaker.answered(passes[4], &RULE, secs(6));
        assert!(breaker.admit(secs(11)).is_ok());
        breaker.failed(passes[5], &RULE, secs(11));
        breaker.answered(passes[4], &RULE, secs(11));
        assert_eq!(breaker.state(secs(11)), State::HalfOpen, "nor does it speak for the trial");
    }

    #[test]
    fn what_knows_better_can_hurry_the_trial() {
        let (mut breaker, _) = play("F F F");
        breaker.hurry(secs(3));
        assert_eq!(breaker.state(secs(3)), State::HalfOpen);
        let mut closed = Breaker::new();
        closed.hurry(secs(3));
        assert_eq!(closed.state(secs(3)), State::Closed);
    }
}
