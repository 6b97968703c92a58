//! Stops the calls to an activation system that does not answer, and lets one through now and then to see whether it
//! answers again. It decides when a call is made, never what its outcome is.
//!
//! Look-ups may be answered while no activation is. Then it stays closed, and says all the same when activations are
//! answered again.

use crate::backoff::{Backoff, jittered};
use parking_lot::Mutex;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Calls in a row without a definite answer after which no more are made.
const MAX_FAILURES: u32 = 10;
/// How long no call is made, before each trial.
const PAUSE: Backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(5));
/// Of the waits, so that those that wait do not come all at once.
const JITTER: std::ops::RangeInclusive<f64> = 1.0..=1.5;
/// Of the time in which no activation was answered, so that what waits is not tried at each of few answers.
const LEAST_OUTAGE: Duration = Duration::from_secs(1);
/// The time for a trial call before another is let through.
const TRIAL: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Breaker {
    state: Mutex<State>,
    unanswered: Mutex<Option<Unanswered>>,
    answers_again: Notify,
}

/// Activations in a row without a definite answer.
struct Unanswered {
    since: Instant,
    calls: u32,
}

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

/// A call that was let through; it ends with a report. Without one the call was not made.
pub(super) struct Admission<'a> {
    breaker: &'a Breaker,
    on_trial: bool,
}

impl Breaker {
    /// Lets a call through, or says how long to wait.
    pub(super) fn admit(&self, now: Instant) -> Result<Admission<'_>, Duration> {
        self.wait(now)?;
        let mut state = self.state.lock();
        let on_trial = matches!(*state, State::Open { .. });
        if let State::Open { trials, .. } = *state {
            *state = State::Open { until: now + TRIAL, trials, on_trial };
        }
        drop(state);
        Ok(Admission { breaker: self, on_trial })
    }

    /// Says how long to wait if no call would be let through. While one is on trial it may end at any moment.
    pub(super) fn wait(&self, now: Instant) -> Result<(), Duration> {
        let wait = match *self.state.lock() {
            State::Closed { .. } => return Ok(()),
            State::Open { until, .. } if now >= until => return Ok(()),
            State::Open { until, on_trial: true, .. } => PAUSE.first.min(until - now),
            State::Open { until, .. } => until - now,
        };
        Err(jittered(wait, JITTER))
    }

    /// Waits until the activation system answers again after many failures, also if that was since this returned last.
    pub(super) async fn answers_again(&self) {
        self.answers_again.notified().await;
    }

    /// A call for an activation had a definite answer or none.
    pub(super) fn note_activation(&self, now: Instant, is_answered: bool) {
        let mut unanswered = self.unanswered.lock();
        if !is_answered {
            unanswered.get_or_insert(Unanswered { since: now, calls: 0 }).calls += 1;
        } else if let Some(Unanswered { since, calls }) = unanswered.take()
            && calls >= MAX_FAILURES
            && now - since >= LEAST_OUTAGE
        {
            self.answers_again.notify_one();
        }
    }

    fn answered(&self) {
        let before = std::mem::take(&mut *self.state.lock());
        if matches!(before, State::Open { .. }) {
            self.answers_again.notify_one();
        }
    }

    fn failed(&self, now: Instant, retry_after: Duration) {
        let mut state = self.state.lock();
        let trials = match *state {
            State::Closed { failures } if failures + 1 < MAX_FAILURES => {
                *state = State::Closed { failures: failures + 1 };
                return;
            }
            State::Closed { .. } => 1,
            State::Open { on_trial: true, trials, .. } => trials.saturating_add(1),
            State::Open { on_trial: false, .. } => return, // it was made before
        };
        let pause = PAUSE.delay(trials).max(retry_after).min(PAUSE.longest);
        *state = State::Open { until: now + pause, trials, on_trial: false };
    }
}

impl Admission<'_> {
    /// The call had a definite answer.
    pub(super) fn answered(mut self) {
        self.breaker.answered();
        self.on_trial = false;
    }

    /// The call had none. `retry_after` is when the activation system wants the next one.
    pub(super) fn failed(mut self, now: Instant, retry_after: Option<Duration>) {
        self.breaker.failed(now, retry_after.unwrap_or_default());
        self.on_trial = false;
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        if let (true, State::Open { until, on_trial, .. }) = (self.on_trial, &mut *self.breaker.state.lock())
        {
            // Another call may go on trial.
            (*until, *on_trial) = (Instant::now(), false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    fn failing(breaker: &Breaker, now: Instant, retry_after: Option<Duration>) {
        breaker.admit(now).ok().unwrap().failed(now, retry_after);
    }

    fn broken(now: Instant) -> Breaker {
        let breaker = Breaker::default();
        (0..MAX_FAILURES).for_each(|_| failing(&breaker, now, None));
        breaker
    }

    /// The wait without its jitter, in tenths of a second.
    fn wait(breaker: &Breaker, now: Instant) -> u128 {
        let State::Open { until, .. } = *breaker.state.lock() else { return 0 };
        let pause = until.saturating_duration_since(now);
        let wait = breaker.wait(now).expect_err("a pause");
        assert!(wait >= pause.mul_f64(*JITTER.start()) && wait <= pause.mul_f64(*JITTER.end()), "{wait:?}");
        pause.as_millis() / 100
    }

    #[test]
    fn calls_are_made_until_too_many_in_a_row_have_failed() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 0..10 {
            (1..MAX_FAILURES).for_each(|_| failing(&breaker, now, None));
            breaker.admit(now).ok().unwrap().answered();
        }
        assert_eq!(wait(&broken(now), now), 5);
    }

    #[test]
    fn one_call_is_let_through_after_a_pause_and_its_answer_lets_all_through() {
        let now = Instant::now();
        let breaker = broken(now);
        let later = now + Duration::from_millis(500);
        let trial = breaker.admit(later).ok().unwrap();
        let others = breaker.admit(later).err().expect("one at a time");
        assert!(others <= Duration::from_secs(1), "it may end at any moment: {others:?}");
        trial.answered();
        assert!(breaker.admit(later).is_ok());
    }

    #[tokio::test]
    async fn it_says_that_it_closes_and_not_that_a_call_was_answered() {
        let now = Instant::now();
        let breaker = Breaker::default();
        breaker.admit(now).ok().unwrap().answered();
        assert_eq!(breaker.answers_again().now_or_never(), None);
        let breaker = broken(now);
        breaker.admit(now + TRIAL).ok().unwrap().answered();
        assert_eq!(breaker.answers_again().now_or_never(), Some(()));
        assert_eq!(breaker.answers_again().now_or_never(), None, "once");
    }

    #[test]
    fn it_says_that_activations_are_answered_again_though_look_ups_always_were() {
        let (breaker, begin) = (Breaker::default(), Instant::now());
        let says = |failures, outage| {
            for _ in 0..failures {
                breaker.admit(begin).ok().unwrap().answered(); // a look-up
                breaker.note_activation(begin, false);
            }
            (0..2).for_each(|_| breaker.note_activation(begin + outage, true));
            breaker.answers_again().now_or_never()
        };
        assert_eq!(says(MAX_FAILURES, LEAST_OUTAGE), Some(()));
        assert_eq!(says(0, LEAST_OUTAGE), None, "once");
        assert_eq!(says(MAX_FAILURES - 1, LEAST_OUTAGE), None, "few failed");
        assert_eq!(says(MAX_FAILURES, LEAST_OUTAGE / 2), None, "some are answered all the time");
    }

    #[test]
    fn a_trial_that_was_not_made_leaves_its_place_to_another() {
        let breaker = broken(Instant::now().checked_sub(Duration::from_secs(1)).unwrap());
        drop(breaker.admit(Instant::now()).ok().unwrap());
        assert!(breaker.admit(Instant::now()).is_ok());
    }

    #[test]
    fn the_pause_grows_with_each_trial_that_fails_and_calls_that_were_made_before_do_not_count() {
        let mut now = Instant::now();
        let breaker = Breaker::default();
        let before = breaker.admit(now).ok().unwrap();
        (0..MAX_FAILURES).for_each(|_| failing(&breaker, now, None));
        before.failed(now, None);
        assert_eq!(wait(&breaker, now), 5);
        for pause in [10, 20, 40, 50, 50] {
            now += Duration::from_secs(5);
            failing(&breaker, now, None);
            assert_eq!(wait(&breaker, now), pause);
        }
    }

    #[test]
    fn the_pause_is_as_long_as_the_activation_system_asks_for_within_its_bound() {
        for (asked_s, tenths) in [(3, 30), (300, 50)] {
            let (breaker, now) = (Breaker::default(), Instant::now());
            (0..MAX_FAILURES).for_each(|_| failing(&breaker, now, Some(Duration::from_secs(asked_s))));
            assert_eq!(wait(&breaker, now), tenths);
        }
    }

    #[test]
    fn a_trial_that_never_ends_does_not_stop_the_calls_for_ever() {
        let now = Instant::now();
        let breaker = broken(now);
        let later = now + Duration::from_secs(1);
        let _never_ends = breaker.admit(later).ok().unwrap();
        assert!(breaker.admit(later + TRIAL).is_ok());
    }
}
