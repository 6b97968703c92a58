//! How many purchases one user may begin, and have under way at the same time.
//!
//! Counted in this process, without a query until the bound is reached: then the read tables say which of the counted
//! purchases are final, and those are forgotten. A purchase is counted before it is begun and taken back when it was
//! refused, so that many requests at once get no more than there is.

use super::Error;
use super::budget::Budgets;
use crate::config::{Bound, Protection};
use domain::{TransactionId, UserId};
use parking_lot::Mutex;
use projections::Readers;
use quick_cache::sync::Cache;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Users that are counted, at most; one that was not seen lately begins again at nothing.
const USERS_MAX: usize = 10_000;
/// `Retry-After` when too many are under way: an activation usually takes less.
const UNFINISHED_RETRY: Duration = Duration::from_secs(5);
/// A purchase that the read tables do not have after so long was never begun, or they are rebuilt.
const UNKNOWN_FOR: Duration = Duration::from_secs(60);

pub(super) struct PurchaseLimits {
    unfinished: Bound,
    begun: Option<Budgets<UserId>>,
    users: Cache<UserId, Arc<Mutex<Purchases>>>,
}

/// What one user has begun, until it is known to be final.
#[derive(Default)]
struct Purchases(Vec<(TransactionId, Instant)>);

impl PurchaseLimits {
    pub(super) fn new(protection: &Protection) -> Self {
        Self {
            unfinished: protection.unfinished_per_user,
            begun: protection
                .purchases_per_user
                .rate()
                .map(|rate| Budgets::new("purchase", rate, Instant::now())),
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
        if self.unfinished == Bound::default() && self.begun.is_none() {
            return Ok(());
        }
        let purchases = self.of(user);
        let now = Instant::now();
        if purchases.lock().is_full(self.unfinished) {
            let counted: Vec<_> = purchases.lock().0.iter().map(|(id, _)| *id).collect();
            let known = match readers.finality_of(&counted).await {
                Err(projections::Error::Lost(_)) => HashMap::new(), // they are rebuilt: nothing is known of any
                known => known?,
            };
            purchases.lock().0.retain(|(id, since)| match known.get(id) {
                Some(is_final) => !is_final,
                None => now.duration_since(*since) < UNKNOWN_FOR,
            });
        }
        let mut purchases = purchases.lock();
        if purchases.is_full(self.unfinished) {
            return Err(Error::TooManyPurchases { retry_after: UNFINISHED_RETRY });
        }
        if let Some(retry_after) = self.begun.as_ref().and_then(|begun| begun.take(user, now).refused_for) {
            return Err(Error::TooManyPurchases { retry_after });
        }
        if self.unfinished.largest().is_some() {
            purchases.0.push((id, now));
        }
        Ok(())
    }

    /// Takes `id` back: the request was refused, or is a repeat.
    pub(super) fn take_back(&self, user: UserId, id: TransactionId) {
        if let Some(purchases) = self.users.get(&user) {
            let mut purchases = purchases.lock();
            if let Some(index) = purchases.0.iter().rposition(|(counted, _)| *counted == id) {
                purchases.0.remove(index);
            }
        }
        if let Some(begun) = &self.begun {
            begun.give_back(user);
        }
    }

    fn of(&self, user: UserId) -> Arc<Mutex<Purchases>> {
        let Ok(purchases) = self.users.get_or_insert_with(&user, || Ok::<_, Infallible>(Arc::default()));
        purchases
    }
}

impl Purchases {
    fn is_full(&self, bound: Bound) -> bool {
        bound.largest().is_some_and(|largest| self.0.len() >= largest)
    }
}
