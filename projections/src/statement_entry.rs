//! The entries of the statement: what an event moves on the accounts of users and partners, and where a hold becomes final.
//! `domain` says what moves.
//!
//! The other side of each entry, outside money, what is reserved and what was earned, follows from the events: it is not stored.

use domain::account::{self, Account};
use domain::transaction::{self, Transaction};
use domain::{Entry, Ledger, Money, Rules, TransactionId};
use uuid::Uuid;

/// One entry of the event at `position`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StatementEntry {
    pub(crate) account: Uuid,
    pub(crate) position: i64,
    /// Signed; 0.00 where a hold becomes final.
    pub(crate) amount: Money,
    /// The activation system's reference, where a hold becomes final.
    pub(crate) reference: Option<String>,
}

/// A hold becomes final whose account the page does not have: that of a transaction which began before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Charge {
    pub(crate) transaction: TransactionId,
    pub(crate) position: i64,
    pub(crate) reference: String,
}

impl Charge {
    /// Its entry, on `account`.
    pub(crate) fn on(self, account: Uuid) -> StatementEntry {
        let Self { position, reference, .. } = self;
        StatementEntry { account, position, amount: Money::ZERO, reference: Some(reference) }
    }
}

/// The entries of something that happens to the account `id`.
pub(crate) fn of_account(id: Uuid, event: &account::Event, position: i64) -> Vec<StatementEntry> {
    of_owners(Account::default().postings(id, event), position)
}

/// What something that happens to a transaction moves. A success moves nothing on an owner's account, so its request
/// is not needed.
pub(crate) fn of_transaction(event: &transaction::Event, position: i64) -> Vec<StatementEntry> {
    of_owners(Transaction::None.postings(Uuid::nil(), event), position)
}

/// The charge that a success is.
pub(crate) fn charge(
    transaction: TransactionId,
    event: &transaction::Event,
    position: i64,
) -> Option<Charge> {
    match event {
        transaction::Event::Succeeded { reference } => {
            Some(Charge { transaction, position, reference: reference.clone() })
        }
        _ => None,
    }
}

fn of_owners(entries: Vec<Entry>, position: i64) -> Vec<StatementEntry> {
    let of_owner = |entry: Entry| match entry.ledger {
        Ledger::Owner(account) => {
            Some(StatementEntry { account: account.0, position, amount: entry.amount, reference: None })
        }
        Ledger::Funding | Ledger::Holding | Ledger::Revenue => None,
    };
    entries.into_iter().filter_map(of_owner).collect()
}
