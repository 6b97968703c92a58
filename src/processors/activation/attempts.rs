//! The transactions that this process is attempting, and those that wait for their next attempt.
//!
//! The consumer and the sweeper both drive transactions. A second attempt at the same time is harmless (the
//! key is the same), but costs a call and an event, so it is refused.

use domain::TransactionId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// The delay of a second attempt while one is running.
pub(super) const RUNNING_RETRY: Duration = Duration::from_secs(5);
/// Size of the table at which expired delays are removed; the next time at twice the size that is left.
const TIDY_AT: usize = 10_000;

#[derive(Clone, Copy)]
enum AttemptState {
    Running,
    Delayed { until: Instant, failures: Failures },
}

/// How often a transaction has failed in a row in this process.
#[derive(Clone, Copy, Default)]
struct Failures {
    /// Calls without a definite answer.
    calls: u32,
    /// Failures of ours.
    faults: u32,
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
            AttemptState::Delayed { until, .. } => *until > now,
        });
        self.tidy_at = self.states.len() * 2;
    }
}

/// The right to attempt one transaction. Ends when dropped.
pub(super) struct AttemptLease<'a> {
    in_flight: &'a InFlight,
    id: TransactionId,
    delay: Option<Duration>,
    failures: Failures,
}

impl InFlight {
    /// The right to attempt `id`, or how long to wait for it.
    pub(super) fn begin(&self, id: TransactionId) -> Result<AttemptLease<'_>, Duration> {
        let mut table = self.0.lock();
        let failures = match table.states.get(&id) {
            Some(AttemptState::Running) => return Err(RUNNING_RETRY),
            Some(AttemptState::Delayed { until, failures }) => {
                let left = until.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Err(left);
                }
                *failures
            }
            None => Failures::default(),
        };
        table.tidy();
        table.states.insert(id, AttemptState::Running);
        Ok(AttemptLease { in_flight: self, id, delay: None, failures })
    }

    pub(super) fn is_running(&self, id: TransactionId) -> bool {
        matches!(self.0.lock().states.get(&id), Some(AttemptState::Running))
    }

    /// Ends the delay of `id`, so that it can be attempted now.
    pub(super) fn clear_delay(&self, id: TransactionId) {
        let mut table = self.0.lock();
        if matches!(table.states.get(&id), Some(AttemptState::Delayed { .. })) {
            table.states.remove(&id);
        }
    }
}

impl AttemptLease<'_> {
    /// Counts a call without a definite answer; how many there were in a row. It got that far, so it ends a row of faults.
    pub(super) fn count_failure(&mut self) -> u32 {
        self.failures = Failures { calls: self.failures.calls.saturating_add(1), faults: 0 };
        self.failures.calls
    }

    /// Counts a failure of ours; how many there were in a row.
    pub(super) fn count_fault(&mut self) -> u32 {
        self.failures.faults = self.failures.faults.saturating_add(1);
        self.failures.faults
    }

    /// Delays the next attempt, from the end of this lease.
    pub(super) fn delay_next(&mut self, delay: Duration) {
        self.delay = Some(delay);
    }
}

impl Drop for AttemptLease<'_> {
    fn drop(&mut self) {
        let mut table = self.in_flight.0.lock();
        let failures = self.failures;
        match self.delay.map(|delay| Instant::now() + delay) {
            Some(until) => table.states.insert(self.id, AttemptState::Delayed { until, failures }),
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

    #[test]
    fn failures_in_a_row_are_counted_over_the_delays() {
        let in_flight = InFlight::default();
        let id = TransactionId(Uuid::from_u128(1));
        for failures in 1..=3 {
            let mut lease = in_flight.begin(id).ok().unwrap();
            assert_eq!(lease.count_failure(), failures);
            lease.delay_next(Duration::ZERO);
        }
        drop(in_flight.begin(id)); // it went well
        assert_eq!(in_flight.begin(id).ok().unwrap().count_failure(), 1);
    }
}
