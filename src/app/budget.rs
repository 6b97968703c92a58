//! One rate for many keys: how much each of them has left.
//!
//! The generic cell rate algorithm: for each key one number is kept, the moment at which its budget
//! will be full again. A request moves it on by one interval, and is refused when that would be more
//! than a whole window ahead. So a key may spend everything at once, and then gets it back evenly.
//!
//! Not the crate `governor`: its map of keys has no bound between two sweeps, and a flood of addresses is
//! what this is for. Here a bounded cache forgets the keys that were not seen lately.

use crate::config::Rate;
use quick_cache::sync::Cache;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How many keys one process keeps count of, a kind; some 150 bytes each. Beyond it the count of one
/// that was not seen lately is forgotten, and that one starts with a whole budget.
const KEYS_MAX: usize = 50_000;

/// The budgets of one kind of caller.
pub(crate) struct Budgets<K> {
    name: &'static str,
    rate: Rate,
    /// Nanoseconds between two requests at the steady rate.
    interval: u64,
    /// When each key's budget is full again, in nanoseconds since `began`.
    full_at: Cache<K, Arc<AtomicU64>>,
    began: Instant,
}

/// What is left of a budget after a request was charged to it or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) name: &'static str,
    pub(crate) rate: Rate,
    /// Requests that may come at once now.
    pub(crate) remaining: u64,
    /// Until the budget is full again if nothing more comes.
    pub(crate) full_in: Duration,
    /// Until one more request is let through; `None` when this one was.
    pub(crate) refused_for: Option<Duration>,
}

impl<K: Copy + Eq + Hash> Budgets<K> {
    pub(crate) fn new(name: &'static str, rate: Rate, began: Instant) -> Self {
        let interval = nanoseconds(rate.window) / u64::from(rate.requests);
        Self { name, rate, interval: interval.max(1), full_at: Cache::new(KEYS_MAX), began }
    }

    /// Charges one request to `key`, unless it has nothing left.
    pub(crate) fn take(&self, key: K, now: Instant) -> Quota {
        let now = nanoseconds(now.saturating_duration_since(self.began));
        let cell = self.cell(key);
        let mut known = cell.load(Ordering::Relaxed);
        loop {
            let full_at = known.max(now) + self.interval;
            if full_at - now > self.capacity() {
                return self.quota(known.max(now), now);
            }
            match cell.compare_exchange_weak(known, full_at, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Quota { refused_for: None, ..self.quota(full_at, now) },
                Err(moved) => known = moved,
            }
        }
    }

    /// Gives back what one request was charged.
    pub(crate) fn give_back(&self, key: K) {
        if let Some(cell) = self.full_at.get(&key) {
            let back = |full_at: u64| Some(full_at.saturating_sub(self.interval));
            let _before = cell.fetch_update(Ordering::Relaxed, Ordering::Relaxed, back);
        }
    }

    /// The quota of `key` if it is exhausted.
    pub(crate) fn exhausted(&self, key: K, now: Instant) -> Option<Quota> {
        let now = nanoseconds(now.saturating_duration_since(self.began));
        let full_at = self.full_at.get(&key)?.load(Ordering::Relaxed);
        (full_at.max(now) + self.interval - now > self.capacity()).then(|| self.quota(full_at, now))
    }

    fn cell(&self, key: K) -> Arc<AtomicU64> {
        let fresh = || Ok::<_, std::convert::Infallible>(Arc::new(AtomicU64::new(0)));
        let Ok(cell) = self.full_at.get_or_insert_with(&key, fresh);
        cell
    }

    fn capacity(&self) -> u64 {
        self.interval * u64::from(self.rate.requests)
    }

    fn quota(&self, full_at: u64, now: u64) -> Quota {
        let owed = full_at - now;
        let wait = (owed + self.interval).saturating_sub(self.capacity());
        Quota {
            name: self.name,
            rate: self.rate,
            remaining: self.capacity().saturating_sub(owed) / self.interval,
            full_in: Duration::from_nanos(owed),
            refused_for: Some(Duration::from_nanos(wait)),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three requests in three seconds.
    fn budgets(began: Instant) -> Budgets<u32> {
        Budgets::new("test", Rate { requests: 3, window: Duration::from_secs(3) }, began)
    }

    #[test]
    fn a_whole_budget_may_be_spent_at_once_and_comes_back_evenly() {
        let began = Instant::now();
        let budgets = budgets(began);
        let at = |milliseconds| began + Duration::from_millis(milliseconds);
        for left in [2, 1, 0] {
            let quota = budgets.take(1, at(0));
            assert_eq!((quota.remaining, quota.refused_for), (left, None));
        }
        let refused = budgets.take(1, at(400));
        assert_eq!(refused.refused_for, Some(Duration::from_millis(600)));
        assert_eq!((refused.remaining, refused.full_in), (0, Duration::from_millis(2600)));
        assert!(budgets.take(1, at(999)).refused_for.is_some());
        assert!(budgets.take(1, at(1000)).refused_for.is_none(), "refusals cost nothing");
        assert!(budgets.take(1, at(1001)).refused_for.is_some());
        assert_eq!(budgets.take(1, at(60_000)).remaining, 2, "and never grows beyond the whole");
    }

    #[test]
    fn what_is_given_back_may_be_spent_again() {
        let began = Instant::now();
        let budgets = budgets(began);
        assert_eq!([(); 3].map(|()| budgets.take(1, began).refused_for), [None; 3]);
        budgets.give_back(1);
        budgets.give_back(2);
        let again = [(); 2].map(|()| budgets.take(1, began).refused_for);
        assert_eq!(again, [None, Some(Duration::from_secs(1))]);
    }

    #[test]
    fn keys_are_counted_apart() {
        let began = Instant::now();
        let budgets = budgets(began);
        assert!(budgets.exhausted(1, began).is_none());
        let first: Vec<_> = (0..3).map(|_| budgets.take(1, began).refused_for).collect();
        assert_eq!(first, [None; 3]);
        assert!(budgets.exhausted(1, began).is_some() && budgets.exhausted(2, began).is_none());
        assert!(budgets.take(2, began).refused_for.is_none());
    }

    #[test]
    fn many_at_once_get_no_more_than_there_is() {
        let began = Instant::now();
        let budgets = Budgets::new("test", Rate { requests: 100, window: Duration::from_secs(3600) }, began);
        let granted: usize = std::thread::scope(|scope| {
            let take = || (0..100).filter(|_| budgets.take(7, began).refused_for.is_none()).count();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
        });
        assert_eq!(granted, 100);
    }

    #[test]
    fn the_memory_is_bounded() {
        let began = Instant::now();
        let budgets = budgets(began);
        let granted = (0..200_000).all(|key| budgets.take(key, began).refused_for.is_none());
        assert!(granted, "a forgotten key begins with a full budget");
        assert!(budgets.full_at.len() <= KEYS_MAX);
    }
}
