//! Stops attempts while the mail server is unavailable: mails wait instead of using up their attempts.

use crate::backoff::Backoff;
use chrono::{DateTime, Utc};
use parking_lot::{Mutex, MutexGuard};
use std::time::Duration;

const PAUSE: Backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(5 * 60));
/// The limit for the attempt after a pause: longer than connecting and sending a mail.
const PROBE: Duration = Duration::from_secs(2 * 60);

/// The state of the server, shared by all connections of a process.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    closed_until: Option<DateTime<Utc>>,
    /// An attempt after a pause is running.
    probing: bool,
}

impl Breaker {
    /// Whether to attempt. After a pause it allows one attempt; the others wait for its result.
    pub(super) fn allows(&self, now: DateTime<Utc>) -> bool {
        let mut state = self.state();
        match state.closed_until {
            None => true,
            Some(moment) if now < moment => false,
            Some(_) => {
                (state.closed_until, state.probing) = (Some(now + PROBE), true);
                true
            }
        }
    }

    /// The allowed attempt ended without reaching the server, because there was nothing to send.
    pub(super) fn no_attempt(&self, now: DateTime<Utc>) {
        let mut state = self.state();
        if state.probing {
            (state.closed_until, state.probing) = (Some(now), false);
        }
    }

    pub(super) fn worked(&self) {
        *self.state() = State::default();
    }

    /// The server did not answer. Attempts at the same time count as one.
    pub(super) fn failed(&self, now: DateTime<Utc>) {
        let mut state = self.state();
        if state.closed_until.is_some() && !state.probing {
            return;
        }
        let failures = state.failures.saturating_add(1);
        *state = State { failures, closed_until: Some(now + PAUSE.delay(failures)), probing: false };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_attempt_is_allowed_after_each_pause_and_pauses_grow() {
        let breaker = Breaker::default();
        let mut now = DateTime::UNIX_EPOCH;
        assert!(breaker.allows(now) && breaker.allows(now));
        for pause in [10, 20, 40, 80, 160, 300, 300] {
            breaker.failed(now);
            breaker.failed(now); // another connection, at the same time
            now += Duration::from_secs(pause);
            now -= Duration::from_millis(1);
            assert!(!breaker.allows(now));
            now += Duration::from_millis(1);
            assert!(breaker.allows(now), "after {pause} s");
            assert!(!breaker.allows(now), "another one waits");
        }
        breaker.no_attempt(now);
        assert!(breaker.allows(now), "nothing was sent");
        breaker.worked();
        assert!(breaker.allows(now) && breaker.allows(now));
    }
}
