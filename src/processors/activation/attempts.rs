//! The transactions that this process is attempting, and those that wait for their next attempt.
//!
//! The consumer and the sweeper both drive transactions. A second attempt at the same time is harmless (the
//! key is the same), but costs a call and an event, so it is refused.

use domain::TransactionId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The delay of a second attempt while one is running.
const RUNNING_RETRY: Duration = Duration::from_secs(5);
/// Size of the table at which expired delays are removed; the next time at twice the size that is left.
const TIDY_AT: usize = 10_000;

#[derive(Clone, Copy)]
enum AttemptState {
    Running,
    DelayedUntil(Instant),
}

#[derive(Default)]
pub(super) struct InFlight(Mutex<AttemptTable>);

#[derive(Default)]
struct AttemptTable {
    states: HashMap<TransactionId, AttemptState>,
    tidy_at: usize,
}

impl AttemptTable {
    /// Removes expired delays if the table is large.
    fn tidy(&mut self) {
        if self.states.len() < self.tidy_at.max(TIDY_AT) {
            return;
        }
        let now = Instant::now();
        self.states.retain(|_, state| match state {
            AttemptState::Running => true,
            AttemptState::DelayedUntil(end) => *end > now,
        });
        self.tidy_at = self.states.len() * 2;
    }
}

/// The right to attempt one transaction. Ends when dropped.
pub(super) struct AttemptLease<'a> {
    in_flight: &'a InFlight,
    id: TransactionId,
    delay: Option<Duration>,
}

impl InFlight {
    /// The right to attempt `id`, or how long to wait for it.
    pub(super) fn begin(&self, id: TransactionId) -> Result<AttemptLease<'_>, Duration> {
        let mut table = self.0.lock();
        match table.states.get(&id) {
            Some(AttemptState::Running) => return Err(RUNNING_RETRY),
            Some(AttemptState::DelayedUntil(end)) => {
                let left = end.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Err(left);
                }
            }
            None => {}
        }
        table.tidy();
        table.states.insert(id, AttemptState::Running);
        Ok(AttemptLease { in_flight: self, id, delay: None })
    }

    /// Ends the delay of `id`, so that it can be attempted now.
    pub(super) fn clear_delay(&self, id: TransactionId) {
        let mut table = self.0.lock();
        if matches!(table.states.get(&id), Some(AttemptState::DelayedUntil(_))) {
            table.states.remove(&id);
        }
    }
}

impl AttemptLease<'_> {
    /// Delays the next attempt, from the end of this lease.
    pub(super) fn delay_next(&mut self, delay: Duration) {
        self.delay = Some(delay);
    }
}

impl Drop for AttemptLease<'_> {
    fn drop(&mut self) {
        let mut table = self.in_flight.0.lock();
        match self.delay {
            Some(delay) => table.states.insert(self.id, AttemptState::DelayedUntil(Instant::now() + delay)),
            None => table.states.remove(&self.id),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_second_attempt_is_refused_until_the_first_has_ended() {
        let in_flight = InFlight::default();
        let id = TransactionId(Uuid::from_u128(1));
        let lease = in_flight.begin(id).ok().unwrap();
        assert!(in_flight.begin(id).is_err());
        assert!(in_flight.begin(TransactionId(Uuid::from_u128(2))).is_ok());
        drop(lease);
        assert!(in_flight.begin(id).is_ok());
    }

    #[test]
    fn a_delayed_transaction_is_not_attempted_until_its_delay_is_over() {
        let in_flight = InFlight::default();
        let id = TransactionId(Uuid::from_u128(1));
        in_flight.begin(id).ok().unwrap().delay_next(Duration::from_secs(60));
        let left = in_flight.begin(id).err().unwrap();
        assert!(left > Duration::from_secs(50) && left <= Duration::from_secs(60), "{left:?}");
        in_flight.clear_delay(id);
        assert!(in_flight.begin(id).is_ok(), "its delay was cleared");
        let other = TransactionId(Uuid::from_u128(2));
        in_flight.begin(other).ok().unwrap().delay_next(Duration::ZERO);
        assert!(in_flight.begin(other).is_ok());
    }
}
