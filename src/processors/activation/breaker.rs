//! Stops the calls to an activation system that does not answer, and lets one through now and then to see whether it
//! answers again. It decides when a call is made, never what its outcome is.

use crate::backoff::Backoff;
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Calls in a row without a definite answer after which no more are made.
const MAX_FAILURES: u32 = 10;
/// How long no call is made, before each trial.
const PAUSE: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(5));
/// The time for a trial call before another is let through.
const TRIAL: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Clone, Copy)]
enum State {
    /// Calls are made; so many in a row have failed.
    Closed { failures: u32 },
    /// No call is made before `until`; `trials` have failed.
    Open { until: Instant, trials: u32, on_trial: bool },
}

impl Default for State {
    fn default() -> Self {
        Self::Closed { failures: 0 }
    }
}

impl Breaker {
    /// Lets a call through, or says how long to wait.
    pub(super) fn admit(&self, now: Instant) -> Result<(), Duration> {
        let mut state = self.0.lock();
        match *state {
            State::Closed { .. } => Ok(()),
            State::Open { until, .. } if now < until => Err(until - now),
            State::Open { trials, .. } => {
                *state = State::Open { until: now + TRIAL, trials, on_trial: true };
                Ok(())
            }
        }
    }

    /// A call had a definite answer.
    pub(super) fn answered(&self) {
        *self.0.lock() = State::default();
    }

    /// A call had none. `retry_after` is when the activation system wants the next one.
    pub(super) fn failed(&self, now: Instant, retry_after: Option<Duration>) {
        let mut state = self.0.lock();
        let trials = match *state {
            State::Closed { failures } if failures + 1 < MAX_FAILURES => {
                *state = State::Closed { failures: failures + 1 };
                return;
            }
            State::Closed { .. } => 1,
            State::Open { on_trial: true, trials, .. } => trials.saturating_add(1),
            State::Open { on_trial: false, .. } => return, // it was made before
        };
        let pause = PAUSE.delay(trials).max(retry_after.unwrap_or_default());
        *state = State::Open { until: now + pause, trials, on_trial: false };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(now: Instant) -> Breaker {
        let breaker = Breaker::default();
        (0..MAX_FAILURES).for_each(|_| breaker.failed(now, None));
        breaker
    }

    #[test]
    fn calls_are_made_until_too_many_in_a_row_have_failed() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..10 {
            (1..MAX_FAILURES).for_each(|_| breaker.failed(now, None));
            assert_eq!(breaker.admit(now), Ok(()));
            breaker.answered();
        }
        assert_eq!(broken(now).admit(now), Err(Duration::from_millis(500)));
    }

    #[test]
    fn one_call_is_let_through_after_a_pause_and_its_answer_lets_all_through() {
        let now = Instant::now();
        let breaker = broken(now);
        let later = now + Duration::from_millis(500);
        assert_eq!(breaker.admit(later), Ok(()));
        assert!(breaker.admit(later).is_err(), "one at a time");
        breaker.answered();
        assert_eq!(breaker.admit(later), Ok(()));
    }

    #[test]
    fn the_pause_grows_with_each_trial_that_fails_and_calls_that_were_made_before_do_not_count() {
        let mut now = Instant::now();
        let breaker = broken(now);
        for pause_ms in [1_000, 2_000, 4_000, 5_000, 5_000] {
            breaker.failed(now, None); // made before the pause
            now += breaker.admit(now).expect_err("a pause");
            assert_eq!(breaker.admit(now), Ok(()));
            breaker.failed(now, None);
            assert_eq!(breaker.admit(now), Err(Duration::from_millis(pause_ms)));
        }
    }

    #[test]
    fn the_pause_is_as_long_as_the_activation_system_asks_for() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        (0..MAX_FAILURES).for_each(|_| breaker.failed(now, Some(Duration::from_secs(30))));
        assert_eq!(breaker.admit(now), Err(Duration::from_secs(30)));
    }

    #[test]
    fn a_trial_that_never_ends_does_not_stop_the_calls_for_ever() {
        let now = Instant::now();
        let breaker = broken(now);
        let later = now + Duration::from_secs(1);
        assert_eq!(breaker.admit(later), Ok(()));
        assert_eq!(breaker.admit(later + TRIAL), Ok(()));
    }
}
