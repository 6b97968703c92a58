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
    Delayed(Delay),
}

#[derive(Clone, Copy)]
struct Delay {
    until: Instant,
    failures: Failures,
    /// When the first of its delays in a row began.
    since: Instant,
    /// It may end as soon as the activation system answers again.
    for_an_answer: bool,
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
            AttemptState::Delayed(delay) => delay.until > now,
        });
        self.tidy_at = self.states.len() * 2;
    }
}

/// The right to attempt one transaction. Ends when dropped.
pub(super) struct AttemptLease<'a> {
    in_flight: &'a InFlight,
    id: TransactionId,
    /// How long, and whether for an answer.
    delay: Option<(Duration, bool)>,
    failures: Failures,
    since: Instant,
}

impl InFlight {
    /// The right to attempt `id`, or how long to wait for it.
    pub(super) fn begin(&self, id: TransactionId) -> Result<AttemptLease<'_>, Duration> {
        let mut table = self.0.lock();
        let now = Instant::now();
        let (failures, since) = match table.states.get(&id) {
            Some(AttemptState::Running) => return Err(RUNNING_RETRY),
            Some(AttemptState::Delayed(delay)) => {
                let left = delay.until.saturating_duration_since(now);
                if !left.is_zero() {
                    return Err(left);
                }
                (delay.failures, delay.since)
            }
            None => (Failures::default(), now),
        };
        table.tidy();
        table.states.insert(id, AttemptState::Running);
        Ok(AttemptLease { in_flight: self, id, delay: None, failures, since })
    }

    pub(super) fn is_running(&self, id: TransactionId) -> bool {
        matches!(self.0.lock().states.get(&id), Some(AttemptState::Running))
    }

    /// Ends the delay of `id`, so that it can be attempted now.
    pub(super) fn clear_delay(&self, id: TransactionId) {
        let mut table = self.0.lock();
        if matches!(table.states.get(&id), Some(AttemptState::Delayed(_))) {
            table.states.remove(&id);
        }
    }

    /// Ends the delays that are for an answer, and says whose they were, oldest first.
    pub(super) fn end_delays(&self) -> Vec<TransactionId> {
        let now = Instant::now();
        let mut ended = Vec::new();
        for (id, state) in &mut self.0.lock().states {
            if let AttemptState::Delayed(delay) = state
                && delay.for_an_answer
            {
                delay.until = now;
                ended.push((delay.since, *id));
            }
        }
        ended.sort_unstable_by_key(|(since, id)| (*since, id.0));
        ended.into_iter().map(|(_, id)| id).collect()
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
        self.delay = Some((delay, false));
    }

    /// The same, and the delay ends as soon as the activation system answers again.
    pub(super) fn delay_for_an_answer(&mut self, delay: Duration) {
        self.delay = Some((delay, true));
    }
}

impl Drop for AttemptLease<'_> {
    fn drop(&mut self) {
        let mut table = self.in_flight.0.lock();
        let Self { id, failures, since, .. } = *self;
        match self.delay {
            Some((delay, for_an_answer)) => {
                let delay = Delay { until: Instant::now() + delay, failures, since, for_an_answer };
                table.states.insert(id, AttemptState::Delayed(delay))
            }
            None => table.states.remove(&id),
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
    fn delays_for_an_answer_end_together_oldest_first_and_the_others_stay() {
        let in_flight = InFlight::default();
        let [first, second, other] = [3, 2, 1].map(|number| TransactionId(Uuid::from_u128(number)));
        let hour = Duration::from_secs(3_600);
        in_flight.begin(first).ok().unwrap().delay_for_an_answer(Duration::ZERO);
        in_flight.begin(second).ok().unwrap().delay_for_an_answer(hour);
        in_flight.begin(other).ok().unwrap().delay_next(hour);
        in_flight.begin(first).ok().unwrap().delay_for_an_answer(hour); // again
        assert_eq!(in_flight.end_delays(), [first, second]);
        assert!(in_flight.begin(second).is_ok());
        assert!(in_flight.begin(other).is_err());
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
