//! How many purchases one user may begin, and have under way at the same time.
//!
//! Counted in this process, without a query until the bound is reached: then the read tables say which of the counted
//! purchases are final, and those are forgotten. A purchase is counted before it is begun and taken back when it was
//! refused, so that many requests at once get no more than there is.

use super::Error;
use crate::config::{Bound, Protection, Rate, RateLimit};
use domain::{TransactionId, UserId};
use parking_lot::Mutex;
use projections::Readers;
use quick_cache::sync::Cache;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Users that are counted, at most; one that was not seen lately begins again at nothing.
const USERS_MAX: usize = 10_000;
/// `Retry-After` when too many are under way: an activation usually takes less.
const UNFINISHED_RETRY: Duration = Duration::from_secs(5);
/// A purchase that the read tables do not have after so long was never begun.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);

pub(super) struct PurchaseLimits {
    unfinished: Bound,
    begun: RateLimit,
    users: Cache<UserId, Arc<Mutex<Purchases>>>,
}

/// What one user has begun.
#[derive(Default)]
struct Purchases {
    under_way: Vec<(TransactionId, Instant)>,
    /// When all of the rate is available again.
    full_at: Option<Instant>,
}

impl PurchaseLimits {
    pub(super) fn new(protection: &Protection) -> Self {
        Self {
            unfinished: protection.unfinished_per_user,
            begun: protection.purchases_per_user,
            users: Cache::new(USERS_MAX),
        }
    }

    /// Counts `id`.
    ///
    /// # Errors
    /// `TooManyPurchases`: it is not counted.
    pub(super) async fn count(
        &self,
        user: UserId,
        id: TransactionId,
        readers: &Readers,
    ) -> Result<(), Error> {
        if self.unfinished == Bound::default() && self.begun == RateLimit::OFF {
            return Ok(());
        }
        let purchases = self.of(user);
        let now = Instant::now();
        if purchases.lock().is_full(self.unfinished) {
            let counted: Vec<_> = purchases.lock().under_way.iter().map(|(id, _)| *id).collect();
            let known = readers.finality_of(&counted).await?;
            purchases.lock().under_way.retain(|(id, since)| match known.get(id) {
                Some(is_final) => !is_final,
                None => now.duration_since(*since) < UNKNOWN_FOR,
            });
        }
        let mut purchases = purchases.lock();
        if purchases.is_full(self.unfinished) {
            return Err(Error::TooManyPurchases { retry_after: UNFINISHED_RETRY });
        }
        if let Some(rate) = self.begun.rate() {
            purchases.take(rate, now).map_err(|retry_after| Error::TooManyPurchases { retry_after })?;
        }
        if self.unfinished.largest().is_some() {
            purchases.under_way.push((id, now));
        }
        Ok(())
    }

    /// Takes `id` back: the request was refused, or is a repeat.
    pub(super) fn take_back(&self, user: UserId, id: TransactionId) {
        let Some(purchases) = self.users.get(&user) else { return };
        let mut purchases = purchases.lock();
        if let Some(index) = purchases.under_way.iter().rposition(|(counted, _)| *counted == id) {
            purchases.under_way.remove(index);
        }
        if let (Some(full_at), Some(rate)) = (purchases.full_at, self.begun.rate()) {
            purchases.full_at = full_at.checked_sub(interval(rate));
        }
    }

    fn of(&self, user: UserId) -> Arc<Mutex<Purchases>> {
        let Ok(purchases) = self.users.get_or_insert_with(&user, || Ok::<_, Infallible>(Arc::default()));
        purchases
    }
}

impl Purchases {
    fn is_full(&self, bound: Bound) -> bool {
        bound.largest().is_some_and(|largest| self.under_way.len() >= largest)
    }

    /// # Errors
    /// How long until the next one.
    fn take(&mut self, rate: Rate, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.map_or(now, |full_at| full_at.max(now)) + interval(rate);
        match (full_at - now).checked_sub(rate.window) {
            Some(excess) if !excess.is_zero() => Err(excess),
            _ => {
                self.full_at = Some(full_at);
                Ok(())
            }
        }
    }
}

/// Between two purchases at the steady rate.
fn interval(rate: Rate) -> Duration {
    rate.window / rate.requests
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_rate_may_be_spent_at_once_and_comes_back_evenly() {
        let rate = Rate { requests: 3, window: Duration::from_secs(3) };
        let (mut purchases, now) = (Purchases::default(), Instant::now());
        let taken: Vec<_> = (0..3).map(|_| purchases.take(rate, now)).collect();
        assert_eq!(taken, [Ok(()); 3]);
        assert_eq!(purchases.take(rate, now), Err(Duration::from_secs(1)));
        assert_eq!(purchases.take(rate, now + Duration::from_secs(1)), Ok(()));
    }
}
