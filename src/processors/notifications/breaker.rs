//! Whether the mail server is worth a try: while it is not, mails wait instead of using up their tries.

use crate::backoff::Backoff;
use chrono::{DateTime, Utc};
use parking_lot::{Mutex, MutexGuard};
use std::time::Duration;

const PAUSE: Backoff = Backoff::new(Duration::from_secs(10), Duration::from_secs(5 * 60));
/// How long the one that tries after a pause may take: more than connecting and a mail.
const PROBE: Duration = Duration::from_secs(2 * 60);

/// What is known of the server. Shared by all connections of a process.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    closed_until: Option<DateTime<Utc>>,
    /// Somebody was let through after a pause and has not told yet.
    probing: bool,
}

impl Breaker {
    /// Whether to try. After a pause, only the first who asks: the others wait for what comes of it.
    pub(super) fn lets_through(&self, now: DateTime<Utc>) -> bool {
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

    /// Whoever was let through is done; without a word about the server it had nothing to try.
    pub(super) fn untried(&self, now: DateTime<Utc>) {
        let mut state = self.state();
        if state.probing {
            (state.closed_until, state.probing) = (Some(now), false);
        }
    }

    /// The server has answered.
    pub(super) fn worked(&self) {
        *self.state() = State::default();
    }

    /// The server has not answered. Those who were under way together count as one.
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
    fn one_tries_after_each_pause_and_pauses_grow() {
        let breaker = Breaker::default();
        let mut now = DateTime::UNIX_EPOCH;
        assert!(breaker.lets_through(now) && breaker.lets_through(now));
        for pause in [10, 20, 40, 80, 160, 300, 300] {
            breaker.failed(now);
            breaker.failed(now); // another connection, at the same time
            now += Duration::from_secs(pause) - Duration::from_millis(1);
            assert!(!breaker.lets_through(now));
            now += Duration::from_millis(1);
            assert!(breaker.lets_through(now), "after {pause} s");
            assert!(!breaker.lets_through(now), "another one waits");
        }
        breaker.untried(now);
        assert!(breaker.lets_through(now), "nothing was tried");
        breaker.worked();
        assert!(breaker.lets_through(now) && breaker.lets_through(now));
    }
}
