//! Which accepted transaction to look at next: the oldest, and not before it is likely to be final.
//!
//! Looking too early doubles the looks, and then the looking becomes the load. So the time to the first
//! look learns from what the looks find, and settles where about six of seven find a final status.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use uuid::Uuid;

/// The first look comes within these bounds after the 202.
const EARLIEST_FIRST_LOOK: Duration = Duration::from_millis(5);
const LATEST_FIRST_LOOK: Duration = Duration::from_secs(5);

/// A further look comes after a quarter of the age, within these bounds.
const SOONEST_NEXT_LOOK: Duration = Duration::from_millis(20);
const LATEST_NEXT_LOOK: Duration = Duration::from_millis(500);

/// How the time to the first look is corrected when the status was final, and when it was not yet.
const FOUND_FINAL: f64 = 0.99;
const FOUND_UNFINISHED: f64 = 1.06;

/// A transaction that was accepted and is not known to be final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Accepted {
    /// When its 202 had been read.
    pub(super) at: Instant,
    /// When its POST was begun.
    pub(super) begun: Instant,
    pub(super) id: Uuid,
    /// Which of the load users it belongs to.
    pub(super) user: usize,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Look at this one; [`Followed::looked`] must be told of the result.
    Look { accepted: Accepted, is_first: bool },
    /// Nothing is due before then.
    At(Instant),
    /// Nothing is waiting to be looked at.
    Nothing,
}

/// The accepted transactions that are not known to be final.
pub(super) struct Followed {
    fresh: VecDeque<Accepted>,
    again: BinaryHeap<Reverse<(Instant, Accepted)>>,
    first_look_after: Duration,
}

impl Default for Followed {
    fn default() -> Followed {
        Followed {
            fresh: VecDeque::new(),
            again: BinaryHeap::new(),
            first_look_after: Duration::from_millis(50),
        }
    }
}

impl Followed {
    pub(super) fn accepted(&mut self, accepted: Accepted) {
        self.fresh.push_back(accepted);
    }

    /// Whatever is due and oldest.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        let again = self.again.peek().map(|Reverse((due, _))| *due);
        let fresh = self.fresh.front().map(|accepted| accepted.at + self.first_look_after);
        match (again, fresh) {
            (Some(due), _) if due <= now => match self.again.pop() {
                Some(Reverse((_, accepted))) => Next::Look { accepted, is_first: false },
                None => Next::Nothing,
            },
            (_, Some(due)) if due <= now => match self.fresh.pop_front() {
                Some(accepted) => Next::Look { accepted, is_first: true },
                None => Next::Nothing,
            },
            (again, fresh) => again.into_iter().chain(fresh).min().map_or(Next::Nothing, Next::At),
        }
    }

    /// Learns from a look, and keeps what was not final for another one.
    pub(super) fn looked(&mut self, accepted: Accepted, is_first: bool, is_final: bool, now: Instant) {
        if is_first {
            let correction = if is_final { FOUND_FINAL } else { FOUND_UNFINISHED };
            let corrected = self.first_look_after.mul_f64(correction);
            self.first_look_after = corrected.clamp(EARLIEST_FIRST_LOOK, LATEST_FIRST_LOOK);
        }
        if !is_final {
            let age = now.saturating_duration_since(accepted.at);
            let wait = (age / 4).clamp(SOONEST_NEXT_LOOK, LATEST_NEXT_LOOK);
            self.again.push(Reverse((now + wait, accepted)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(at: Instant) -> Accepted {
        Accepted { at, begun: at, id: Uuid::now_v7(), user: 0 }
    }

    #[test]
    fn the_oldest_is_looked_at_first_and_again_until_it_is_final() {
        let start = Instant::now();
        let mut followed = Followed::default();
        assert_eq!(followed.next(start), Next::Nothing);
        let (old, new) = (accepted(start), accepted(start + Duration::from_millis(1)));
        followed.accepted(old);
        followed.accepted(new);
        assert_eq!(followed.next(start), Next::At(start + Duration::from_millis(50)));
        let later = start + Duration::from_millis(100);
        assert_eq!(followed.next(later), Next::Look { accepted: old, is_first: true });
        followed.looked(old, true, false, later);
        assert_eq!(followed.next(later), Next::Look { accepted: new, is_first: true });
        followed.looked(new, true, true, later);
        let again = later + Duration::from_millis(25);
        assert_eq!(followed.next(later), Next::At(again));
        assert_eq!(followed.next(again), Next::Look { accepted: old, is_first: false });
        followed.looked(old, false, true, again);
        assert_eq!(followed.next(again), Next::Nothing);
    }

    #[test]
    fn most_are_final_when_they_are_first_looked_at() {
        let start = Instant::now();
        let takes = |n: u32| Duration::from_millis(80 + u64::from(n * 7 % 40));
        let mut followed = Followed::default();
        let (mut looks, count) = (0, 5_000_u32);
        for n in 0..count {
            let now = start + Duration::from_millis(u64::from(n));
            let one = accepted(now);
            followed.accepted(one);
            while let Next::Look { accepted, is_first } = followed.next(now) {
                looks += 1;
                let is_final =
                    now - accepted.at >= takes(u32::try_from((accepted.at - start).as_millis()).unwrap());
                followed.looked(accepted, is_first, is_final, now);
            }
        }
        assert!(looks < count * 13 / 10, "{looks} looks at {count} transactions");
        assert!(followed.first_look_after < Duration::from_millis(130), "{:?}", followed.first_look_after);
    }
}
