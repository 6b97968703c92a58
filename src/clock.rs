//! The time, so that tests can set it.

use chrono::{DateTime, Duration, Utc};
use domain::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Tells the time: the system's, or one that a test moves.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    /// Microseconds since 1970, when a test has taken over.
    set: Option<Arc<AtomicI64>>,
}

impl Clock {
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands at `moment` until it is moved. Clones move with it.
    #[must_use]
    pub fn standing_at(moment: DateTime<Utc>) -> Self {
        Self { set: Some(Arc::new(AtomicI64::new(moment.timestamp_micros()))) }
    }

    /// Moves a standing clock; the system's cannot be moved.
    pub fn advance(&self, by: Duration) {
        if let Some(set) = &self.set {
            set.fetch_add(by.num_microseconds().unwrap_or(i64::MAX), Ordering::SeqCst);
        }
    }

    /// Now, in microseconds.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> Timestamp {
        let set =
            self.set.as_ref().and_then(|set| DateTime::from_timestamp_micros(set.load(Ordering::SeqCst)));
        Timestamp::new(set.unwrap_or_else(Utc::now))
    }
}
