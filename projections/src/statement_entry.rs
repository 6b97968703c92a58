//! The entries of the statement: what an event moves, one account each. `domain` says which.

use domain::account::{self, Account};
use domain::transaction::{self, ActivationRequested, Transaction};
use domain::{Entry, Ledger, Money, Rules};
use uuid::Uuid;

/// The account of the money that was paid in from outside and paid out. No owner has such an id: theirs are
/// UUIDs of version 5 or 7.
pub const FUNDING: Uuid = Uuid::from_u128(1);
/// The account of the money that is reserved for transactions that are not final.
pub const HOLDING: Uuid = Uuid::from_u128(2);
/// The account of the money that was earned.
pub const REVENUE: Uuid = Uuid::from_u128(3);

/// One entry of the event at `position`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StatementEntry {
    pub(crate) account: Uuid,
    pub(crate) position: i64,
    /// 0, 1 … among the event's entries.
    pub(crate) ordinal: i16,
    /// Signed.
    pub(crate) amount: Money,
}

/// The entries of something that happens to the account `id`.
pub(crate) fn of_account(id: Uuid, event: &account::Event, position: i64) -> Vec<StatementEntry> {
    numbered(Account::default().postings(id, event), position)
}

/// The entries of something that happens to a transaction with this `request`; `None` for a success
/// whose request is not known here.
pub(crate) fn of_transaction(
    request: Option<&ActivationRequested>,
    event: &transaction::Event,
    position: i64,
) -> Option<Vec<StatementEntry>> {
    match event {
        transaction::Event::Succeeded { .. } => request.map(|request| of_success(request, position)),
        _ => Some(numbered(Transaction::None.postings(Uuid::nil(), event), position)),
    }
}

/// The entries of a success: the amount is the request's.
pub(crate) fn of_success(request: &ActivationRequested, position: i64) -> Vec<StatementEntry> {
    let state = Transaction::Pending { request: Box::new(request.clone()) };
    let success = transaction::Event::Succeeded { reference: String::new() };
    numbered(state.postings(Uuid::nil(), &success), position)
}

fn numbered(entries: Vec<Entry>, position: i64) -> Vec<StatementEntry> {
    let numbered = |(ordinal, entry): (i16, Entry)| StatementEntry {
        account: account_of(entry.ledger),
        position,
        ordinal,
        amount: entry.amount,
    };
    (0..).zip(entries).map(numbered).collect()
}

fn account_of(ledger: Ledger) -> Uuid {
    match ledger {
        Ledger::Funding => FUNDING,
        Ledger::Holding => HOLDING,
        Ledger::Revenue => REVENUE,
        Ledger::Owner(account) => account.0,
    }
}
