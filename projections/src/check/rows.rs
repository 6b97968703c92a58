//! What the rows of transactions and subscriptions must be, kept in a few bytes each while the log is folded.
//!
//! A row that follows from one stream alone is read from that stream instead: there are few of them, such as those of
//! transactions that moved after their end.

use super::streams::Derived;
use crate::{SubscriptionView, TransactionView, subscription};
use domain::{Timestamp, TransactionId};
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, Hash, RandomState};
use uuid::Uuid;

/// The rows at one position.
#[derive(Debug, Default)]
pub(super) struct Rows {
    hashes: Hashes,
    pub(super) transactions: Kept<TransactionView>,
    pub(super) subscriptions: Kept<SubscriptionView>,
}

/// The rows of one table.
#[derive(Debug)]
pub(super) struct Kept<T: Derived> {
    /// By the id.
    pub(super) rows: HashMap<Uuid, T::Kept>,
    /// To be compared with their own streams.
    pub(super) by_stream: HashSet<Uuid>,
}

impl<T: Derived> Default for Kept<T> {
    fn default() -> Self {
        Self { rows: HashMap::new(), by_stream: HashSet::new() }
    }
}

/// Hashes that nobody can know in advance.
#[derive(Clone, Debug, Default)]
pub(super) struct Hashes(RandomState);

impl Hashes {
    pub(super) fn of(&self, value: impl Hash) -> u64 {
        self.0.hash_one(value)
    }
}

/// A subscription's row: what never changes as a hash, and what does.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct KeptSubscription {
    begun: u64,
    expiration_date: Timestamp,
    announced: bool,
    expired: bool,
    position: i64,
}

impl KeptSubscription {
    pub(super) fn of(view: &SubscriptionView, hashes: &Hashes) -> Self {
        let SubscriptionView {
            subscription_id,
            user_id,
            offer_id,
            offer_name,
            transaction_id,
            activation_date,
            expiration_date,
            announced,
            expired,
            created_position,
            position,
        } = view;
        let ids = (subscription_id, user_id, offer_id, transaction_id);
        let begun = hashes.of((ids, offer_name, activation_date, created_position));
        let (expiration_date, announced, expired) = (*expiration_date, *announced, *expired);
        Self { begun, expiration_date, announced, expired, position: *position }
    }

    fn advance(&mut self, change: &subscription::Change) {
        self.expiration_date = change.expiration_date.unwrap_or(self.expiration_date);
        self.announced = change.announced.unwrap_or(self.announced);
        self.expired = change.expired.unwrap_or(self.expired);
        self.position = change.position;
    }
}

impl Rows {
    /// A transaction that is as it ends.
    pub(super) fn end(&mut self, view: &TransactionView) {
        self.transactions.rows.insert(view.transaction_id.0, view.kept(&self.hashes));
    }

    /// A transaction that has moved after its end.
    pub(super) fn late(&mut self, id: TransactionId) {
        self.transactions.by_stream.insert(id.0);
    }

    /// `offer_name` is that of the transaction that began it, if that is known. False if it was never activated.
    pub(super) fn subscription(&mut self, change: &subscription::Change, offer_name: Option<&str>) -> bool {
        let (id, Kept { rows, by_stream }) = (change.id.0, &mut self.subscriptions);
        match (change.to_view(offer_name.unwrap_or_default()), rows.get_mut(&id)) {
            (Some(_), _) if offer_name.is_none() => {
                by_stream.insert(id);
            }
            (Some(view), _) => {
                rows.insert(id, view.kept(&self.hashes));
            }
            (None, Some(kept)) => kept.advance(change),
            (None, None) => return by_stream.contains(&id),
        }
        true
    }

    /// With those that are not final.
    pub(super) fn with<'a>(mut self, open: impl Iterator<Item = &'a TransactionView>) -> (Self, Hashes) {
        open.for_each(|view| self.end(view));
        let hashes = self.hashes.clone();
        (self, hashes)
    }
}
