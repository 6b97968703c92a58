//! Which purchases this process is busy with, and which ones rest until their next attempt.
//!
//! The consumer and the sweeper both drive purchases. Being told twice is harmless (the key is the same),
//! but costs an attempt and an event; so the second one is sent away at once.

use domain::TransactionId;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// One that is busy is looked at again after this.
const BUSY: Duration = Duration::from_secs(5);
/// At so many, those that have rested are forgotten; at twice what is left, again.
const REMEMBERED: usize = 10_000;

#[derive(Clone, Copy)]
enum Standing {
    Busy,
    RestsUntil(Instant),
}

/// All purchases that this process knows to be busy or at rest.
#[derive(Default)]
pub(super) struct Attempts(Mutex<Known>);

#[derive(Default)]
struct Known {
    standing: HashMap<TransactionId, Standing>,
    forget_at: usize,
}

impl Known {
    /// Forgets those that have rested, when there are many.
    fn tidy(&mut self) {
        if self.standing.len() < self.forget_at.max(REMEMBERED) {
            return;
        }
        let now = Instant::now();
        self.standing.retain(|_, standing| match standing {
            Standing::Busy => true,
            Standing::RestsUntil(end) => *end > now,
        });
        self.forget_at = self.standing.len() * 2;
    }
}

/// The right to attempt one purchase. Ends when dropped.
pub(super) struct Turn<'a> {
    attempts: &'a Attempts,
    id: TransactionId,
    rest: Option<Duration>,
}

impl Attempts {
    /// The right to attempt `id`, or how long to wait for it.
    pub(super) fn begin(&self, id: TransactionId) -> Result<Turn<'_>, Duration> {
        let mut known = self.0.lock();
        match known.standing.get(&id) {
            Some(Standing::Busy) => return Err(BUSY),
            Some(Standing::RestsUntil(end)) => {
                let left = end.saturating_duration_since(Instant::now());
                if !left.is_zero() {
                    return Err(left);
                }
            }
            None => {}
        }
        known.tidy();
        known.standing.insert(id, Standing::Busy);
        Ok(Turn { attempts: self, id, rest: None })
    }

    /// Ends the rest of `id`, if it has one: somebody wants it attempted now.
    pub(super) fn wake(&self, id: TransactionId) {
        let mut known = self.0.lock();
        if matches!(known.standing.get(&id), Some(Standing::RestsUntil(_))) {
            known.standing.remove(&id);
        }
    }
}

impl Turn<'_> {
    /// Sends it to rest when the turn ends.
    pub(super) fn then_rest(&mut self, rest: Duration) {
        self.rest = Some(rest);
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut known = self.attempts.0.lock();
        match self.rest {
            Some(rest) => known.standing.insert(self.id, Standing::RestsUntil(Instant::now() + rest)),
            None => known.standing.remove(&self.id),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_second_one_is_sent_away_until_the_first_has_ended() {
        let attempts = Attempts::default();
        let id = TransactionId(Uuid::from_u128(1));
        let turn = attempts.begin(id).ok().unwrap();
        assert!(attempts.begin(id).is_err());
        assert!(attempts.begin(TransactionId(Uuid::from_u128(2))).is_ok());
        drop(turn);
        assert!(attempts.begin(id).is_ok());
    }

    #[test]
    fn one_that_rests_is_left_alone_until_it_has_rested() {
        let attempts = Attempts::default();
        let id = TransactionId(Uuid::from_u128(1));
        attempts.begin(id).ok().unwrap().then_rest(Duration::from_secs(60));
        let left = attempts.begin(id).err().unwrap();
        assert!(left > Duration::from_secs(50) && left <= Duration::from_secs(60), "{left:?}");
        attempts.wake(id);
        assert!(attempts.begin(id).is_ok(), "it was woken");
        let other = TransactionId(Uuid::from_u128(2));
        attempts.begin(other).ok().unwrap().then_rest(Duration::ZERO);
        assert!(attempts.begin(other).is_ok());
    }
}
