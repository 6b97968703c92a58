//! The time, so that tests can set it, and `./dev` can move it.

use chrono::{DateTime, Duration, Utc};
use domain::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration as StdDuration;

/// Tells the time: the system's, or one that a test or `./dev` moves.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Microseconds since 1970, when a test has taken over.
    set: Option<Arc<AtomicI64>>,
    /// Microseconds ahead of the system's, when `./dev` moves it.
    ahead: Option<Arc<AtomicI64>>,
}

impl Clock {
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `moment` until it is moved. Clones move with it.
    #[must_use]
    pub fn standing_at(moment: DateTime<Utc>) -> Self {
        Self { set: Some(Arc::new(AtomicI64::new(moment.timestamp_micros()))), ahead: None }
    }

    /// Moves a standing clock; the system's cannot be moved.
    pub fn advance(&self, by: Duration) {
        if let Some(set) = &self.set {
            set.fetch_add(by.num_microseconds().unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }

    /// The system's, but `ahead` of it. Clones move with it.
    #[must_use]
    pub fn ahead_by(ahead: StdDuration) -> Self {
        Self { set: None, ahead: Some(Arc::new(AtomicI64::new(microseconds(ahead)))) }
    }

    /// Moves such a clock so far ahead of the system's, but never back.
    pub fn move_ahead(&self, by: StdDuration) {
        if let Some(ahead) = &self.ahead {
            ahead.fetch_max(microseconds(by), Ordering::SeqCst);
        }
    }

    /// Now, in microseconds.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> Timestamp {
        let set =
            self.set.as_ref().and_then(|set| DateTime::from_timestamp_micros(set.load(Ordering::SeqCst)));
        let ahead = self.ahead.as_ref().map_or(0, |ahead| ahead.load(Ordering::SeqCst));
        Timestamp::new(set.unwrap_or_else(|| Utc::now() + Duration::microseconds(ahead)))
    }
}

fn microseconds(duration: StdDuration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_ahead_is_never_moved_back() {
        let (system, day) = (Clock::system(), StdDuration::from_secs(86_400));
        let clock = Clock::ahead_by(StdDuration::ZERO);
        let same = clock.clone();
        same.move_ahead(day);
        same.move_ahead(StdDuration::ZERO);
        let difference = clock.now().utc() - system.now().utc();
        assert!((difference - Duration::days(1)).abs() < Duration::minutes(1), "{difference}");
    }
}
