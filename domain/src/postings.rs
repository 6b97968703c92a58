//! Double entry: what an event does to money.

use crate::{AccountId, Money};

/// Where money stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ledger {
    /// Outside: what was paid in from, and paid out to.
    Funding,
    /// Reserved for transactions that are not final.
    Holding,
    /// Earned.
    Revenue,
    /// What a user or a partner has available; must never fall below zero.
    Owner(AccountId),
}

/// One side of a posting: `amount` comes into `ledger`, or leaves it when negative.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose money.
    pub ledger: Ledger,
    /// Signed.
    pub amount: Money,
}

/// The two entries of `amount` going from one place to another; they sum to zero.
pub(crate) fn transfer(from: Ledger, to: Ledger, amount: Money) -> Vec<Entry> {
    vec![Entry { ledger: from, amount: -amount }, Entry { ledger: to, amount }]
}
