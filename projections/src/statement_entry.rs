//! The entries of the statement: what an event moves on the accounts of users and partners. `domain` says which.
//!
//! The other side of each entry, outside money, what is reserved and what was earned, follows from the events: it is not stored.

use domain::account::{self, Account};
use domain::transaction::{self, Transaction};
use domain::{Entry, Ledger, Money, Rules};
use uuid::Uuid;

/// One entry of the event at `position`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatementEntry {
    pub(crate) account: Uuid,
    pub(crate) position: i64,
    /// Counted from 0 among all entries of the event.
    pub(crate) ordinal: i16,
    /// Signed.
    pub(crate) amount: Money,
}

/// The entries of something that happens to the account `id`.
pub(crate) fn of_account(id: Uuid, event: &account::Event, position: i64) -> Vec<StatementEntry> {
    of_owners(Account::default().postings(id, event), position)
}

/// The entries of something that happens to a transaction. A success moves nothing on an owner's account, so its request
/// is not needed.
pub(crate) fn of_transaction(event: &transaction::Event, position: i64) -> Vec<StatementEntry> {
    of_owners(Transaction::None.postings(Uuid::nil(), event), position)
}

fn of_owners(entries: Vec<Entry>, position: i64) -> Vec<StatementEntry> {
    let of_owner = |(ordinal, entry): (i16, Entry)| match entry.ledger {
        Ledger::Owner(account) => {
            Some(StatementEntry { account: account.0, position, ordinal, amount: entry.amount })
        }
        Ledger::Funding | Ledger::Holding | Ledger::Revenue => None,
    };
    (0..).zip(entries).filter_map(of_owner).collect()
}
