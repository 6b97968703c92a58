//! What the rows of transactions and subscriptions must be, as sums of their hashes.
//!
//! A table is divided into partitions by the last digits of its ids. Each row that follows from the log is added to the sum of its
//! partition, each row that the table has is subtracted: what is left is 0 if they are the same. A partition where they are
//! not, or where it is not known, is *suspect* and compared row by row (`streams`).
//!
//! A transaction is forgotten when it ends, a subscription when it has expired. What moves after that makes its partition
//! suspect: late answers of the activation system, and renewals of subscriptions that had expired.

use super::streams::Derived;
use crate::{SubscriptionView, TransactionView, subscription};
use domain::{SubscriptionId, Timestamp, TransactionId};
use std::hash::{BuildHasher, Hash, RandomState};
use uuid::Uuid;

/// One for each value of the last three hexadecimal digits, which are random in all ids.
const PARTITIONS: usize = 1 << (4 * PARTITION_DIGITS);
/// Hexadecimal digits.
pub(super) const PARTITION_DIGITS: usize = 3;

/// What the rows at one position must be.
#[derive(Debug, Default)]
pub(super) struct Rows {
    hashes: Hashes,
    transactions: Sums,
    subscriptions: Sums,
    pub(super) running: RunningSubscriptions,
}

/// Hashes that nobody can know in advance, so that a difference goes unseen once in 2^64 times.
#[derive(Clone, Debug, Default)]
pub(super) struct Hashes(RandomState);

impl Hashes {
    pub(super) fn of(&self, value: impl Hash) -> u64 {
        self.0.hash_one(value)
    }
}

/// A sum for each partition of a table; `None` if it is not known.
#[derive(Debug)]
pub(super) struct Sums(Vec<Option<u64>>);

impl Default for Sums {
    fn default() -> Self {
        Self(vec![Some(0); PARTITIONS])
    }
}

impl Sums {
    fn add(&mut self, id: Uuid, hash: u64) {
        let sum = &mut self.0[partition(id)];
        *sum = sum.map(|sum| sum.wrapping_add(hash));
    }

    pub(super) fn subtract(&mut self, id: Uuid, hash: u64) {
        self.add(id, hash.wrapping_neg());
    }

    fn suspect(&mut self, id: Uuid) {
        self.0[partition(id)] = None;
    }

    pub(super) fn is_suspect(&self, id: Uuid) -> bool {
        self.0[partition(id)] != Some(0)
    }

    /// Whether rows are known to be wrong.
    pub(super) fn differ(&self) -> bool {
        self.0.iter().any(|sum| sum.is_some_and(|sum| sum != 0))
    }

    /// The last digits of the ids in suspect partitions.
    pub(super) fn suspects(&self) -> Vec<String> {
        let suspect = self.0.iter().enumerate().filter(|(_, sum)| **sum != Some(0));
        suspect.map(|(number, _)| format!("{number:0PARTITION_DIGITS$x}")).collect()
    }
}

fn partition(id: Uuid) -> usize {
    let [.., high, low] = *id.as_bytes();
    usize::from(u16::from_be_bytes([high, low])) % PARTITIONS
}

/// Those that have not expired: for each partition a vector, sorted by id. A hash map would take twice as much memory, and three times
/// as much while it grows.
#[derive(Debug)]
pub(super) struct RunningSubscriptions(Vec<Vec<(SubscriptionId, Running)>>);

impl Default for RunningSubscriptions {
    fn default() -> Self {
        Self(vec![Vec::new(); PARTITIONS])
    }
}

impl RunningSubscriptions {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.iter().map(Vec::len).sum()
    }

    fn get_mut(&mut self, id: SubscriptionId) -> Option<&mut Running> {
        let (partition, found) = self.find(id);
        found.ok().map(|index| &mut partition[index].1)
    }

    fn insert(&mut self, id: SubscriptionId, running: Running) {
        match self.find(id) {
            (partition, Ok(index)) => partition[index].1 = running,
            (partition, Err(index)) => {
                if partition.len() == partition.capacity() {
                    partition.reserve_exact(partition.len() / 8 + 1);
                }
                partition.insert(index, (id, running));
            }
        }
    }

    fn remove(&mut self, id: SubscriptionId) -> Option<Running> {
        let (partition, found) = self.find(id);
        found.ok().map(|index| partition.remove(index).1)
    }

    /// The partition of `id`, and where in it `id` is or would be.
    fn find(&mut self, id: SubscriptionId) -> (&mut Vec<(SubscriptionId, Running)>, Result<usize, usize>) {
        let partition = &mut self.0[partition(id.0)];
        let found = partition.binary_search_by_key(&id, |(known, _)| *known);
        (partition, found)
    }
}

/// What changes of a subscription that has not expired.
#[derive(Clone, Copy, Debug)]
pub(super) struct Running {
    expiration_date: Timestamp,
    announced: bool,
    position: i64,
}

impl Running {
    fn of(view: &SubscriptionView) -> Self {
        let SubscriptionView { expiration_date, announced, position, .. } = *view;
        Self { expiration_date, announced, position }
    }

    fn advance(&mut self, change: &subscription::Change) {
        self.expiration_date = change.expiration_date.unwrap_or(self.expiration_date);
        self.announced = change.announced.unwrap_or(self.announced);
        self.position = change.position;
    }

    fn fingerprint(&self, id: SubscriptionId, expired: bool, hashes: &Hashes) -> u64 {
        hashes.of((id, self.expiration_date, self.announced, expired, self.position))
    }
}

/// The sum of two hashes: of what never changes, and of what does.
pub(super) fn subscription_fingerprint(view: &SubscriptionView, hashes: &Hashes) -> u64 {
    let changing = Running::of(view).fingerprint(view.subscription_id, view.expired, hashes);
    begun_fingerprint(view, hashes).wrapping_add(changing)
}

fn begun_fingerprint(view: &SubscriptionView, hashes: &Hashes) -> u64 {
    let SubscriptionView {
        subscription_id,
        user_id,
        offer_id,
        offer_name,
        transaction_id,
        activation_date,
        expiration_date: _,
        announced: _,
        expired: _,
        created_position,
        position: _,
    } = view;
    let ids = (subscription_id, user_id, offer_id, transaction_id);
    hashes.of((ids, offer_name, activation_date, created_position))
}

impl Rows {
    pub(super) fn hashes(&self) -> Hashes {
        self.hashes.clone()
    }

    /// A transaction that is as it ends.
    pub(super) fn end(&mut self, view: &TransactionView) {
        self.transactions.add(view.id(), view.fingerprint(&self.hashes));
    }

    /// A transaction that has moved after its end.
    pub(super) fn late(&mut self, id: TransactionId) {
        self.transactions.suspect(id.0);
    }

    /// `offer_name` is that of the transaction that began it, if that is known.
    pub(super) fn subscription(&mut self, change: &subscription::Change, offer_name: Option<&str>) {
        let id = change.id;
        let begun = change.to_view(offer_name.unwrap_or_default());
        match (begun, offer_name, self.running.get_mut(id)) {
            (Some(view), Some(_), _) => {
                self.subscriptions.add(id.0, begun_fingerprint(&view, &self.hashes));
                self.running.insert(id, Running::of(&view));
            }
            (None, _, Some(running)) => running.advance(change),
            // It had expired. Or it was never activated: then its stream cannot be folded.
            (None, _, None) | (Some(_), None, _) => return self.subscriptions.suspect(id.0),
        }
        if change.expired == Some(true)
            && let Some(running) = self.running.remove(id)
        {
            self.subscriptions.add(id.0, running.fingerprint(id, true, &self.hashes));
        }
    }

    /// The sums of all transactions, with those that are not final, and of all subscriptions.
    pub(super) fn sums<'a>(
        mut self,
        open: impl Iterator<Item = &'a TransactionView>,
    ) -> (Sums, Sums, Hashes) {
        open.for_each(|view| self.end(view));
        for (id, running) in self.running.0.into_iter().flatten() {
            self.subscriptions.add(id.0, running.fingerprint(id, false, &self.hashes));
        }
        (self.transactions, self.subscriptions, self.hashes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subscription::{Activated, Change};
    use domain::user_offer::Period;

    fn day(number: u32) -> Timestamp {
        "2026-01-01T00:00:00Z".parse::<Timestamp>().unwrap().plus_days(number)
    }

    fn activated(id: u128, position: i64) -> Change {
        let period = Period {
            user_id: Uuid::from_u128(1).into(),
            offer_id: Uuid::from_u128(2).into(),
            transaction_id: Uuid::from_u128(3).into(),
            starts_at: day(0),
            expires_at: day(30),
        };
        Change {
            id: Uuid::from_u128(id).into(),
            activated: Some(Activated { period, position }),
            expiration_date: Some(day(30)),
            announced: Some(false),
            expired: Some(false),
            position,
        }
    }

    fn expired(id: u128, position: i64) -> Change {
        Change {
            activated: None,
            expiration_date: None,
            announced: None,
            expired: Some(true),
            ..activated(id, position)
        }
    }

    fn renewed(id: u128, position: i64) -> Change {
        Change { activated: None, expiration_date: Some(day(90)), ..activated(id, position) }
    }

    /// What is suspect if these `changes` are in the log and these rows in the table.
    fn suspects(changes: &[Change], table: &[SubscriptionView]) -> Vec<String> {
        let mut rows = Rows::default();
        for change in changes {
            rows.subscription(change, Some("TV"));
        }
        let (_, mut sums, hashes) = rows.sums([].into_iter());
        for row in table {
            sums.subtract(row.id(), row.fingerprint(&hashes));
        }
        sums.suspects()
    }

    #[test]
    fn a_subscription_is_kept_while_it_runs_and_its_sum_is_that_of_its_row() {
        let mut rows = Rows::default();
        let history = [activated(5, 1), renewed(5, 2), expired(5, 3)];
        let mut view = history[0].to_view("TV").unwrap();
        for (number, change) in history.iter().enumerate() {
            rows.subscription(change, Some("TV"));
            assert_eq!(rows.running.len(), usize::from(number < 2), "{change:?}");
            view.advance(change);
            assert_eq!(suspects(&history[..=number], &[view.clone()]), [""; 0], "{change:?}");
            assert_eq!(suspects(&history[..=number], &[]), ["005"]);
        }
        let renewed = [&history[..], &[renewed(5, 4)]].concat();
        view.advance(&renewed[3]);
        assert_eq!(suspects(&renewed, &[view]), ["005"], "its first end is not known any more");
    }

    #[test]
    fn values_that_two_rows_of_a_partition_have_exchanged_do_not_cancel_out() {
        let log = [activated(0x1_abc, 1), activated(0x2_abc, 2), expired(0x2_abc, 3)];
        let mut first = log[0].to_view("TV").unwrap();
        let mut second = log[1].to_view("TV").unwrap();
        second.advance(&log[2]);
        assert_eq!(suspects(&log, &[second.clone(), first.clone()]), [""; 0]);
        (first.expired, second.expired) = (second.expired, first.expired);
        assert_eq!(suspects(&log, &[first, second]), ["abc"]);
    }
}
