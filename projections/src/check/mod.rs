//! Does everything derived agree with the events? Folds the whole log and compares.
//!
//! The fold is made of the same pure changes as the read tables, but nothing is read back from a table:
//! whatever went wrong in a statement, a checkpoint or a disk shows. The log is read once, and each table once; what differs is then
//! read again, stream by stream. Memory grows with accounts, offers, unfinished transactions and running subscriptions, not
//! with history.

mod fold;
mod rows;
mod streams;
mod tables;

pub use streams::{Streams, StreamsOf};
pub use tables::Snapshot;

use crate::Error;
use domain::{AccountId, Money, Recorded};
use fold::Fold;
use std::fmt;

/// Differences that are described; the others are only counted.
const MAX_EXAMPLES: usize = 50;

/// A check under way. Feed it every event from the first on.
#[derive(Debug, Default)]
pub struct Check {
    fold: Fold,
    differences: Differences,
}

impl Check {
    /// The position of the last event that was folded.
    #[must_use]
    pub fn position(&self) -> i64 {
        self.fold.position()
    }

    /// Folds the next page.
    ///
    /// # Errors
    /// `Unreadable` for an event that this version does not know; `Broken` for a history that does not
    /// follow on, or that no rule could have written.
    pub fn fold(&mut self, events: &[Recorded]) -> Result<(), Error> {
        self.fold.apply(events)
    }

    /// What `account` has by the events that were folded.
    #[must_use]
    pub fn balance(&self, account: AccountId) -> Money {
        self.fold.accounts.get(&account.0).map_or(Money::ZERO, |statement| statement.balance)
    }

    /// Compares the balances that the log keeps with the entries of its events, both at the same
    /// position. An account that never moved may be missing on either side.
    pub fn compare_balances(&mut self, kept: &[(AccountId, Money)]) {
        let mut folded = self.fold.owners();
        for (account, kept) in kept {
            let folded = folded.remove(&account.0).unwrap_or(Money::ZERO);
            if folded != *kept {
                self.differences.add(format_args!("account {account} has {kept}, its events say {folded}"));
            }
        }
        for (account, folded) in folded.into_iter().filter(|(_, folded)| *folded != Money::ZERO) {
            self.differences.add(format_args!("account {account} is missing, its events say {folded}"));
        }
    }

    /// What was found.
    #[must_use]
    pub fn differences(&self) -> &Differences {
        &self.differences
    }

    /// What was folded, in words.
    #[must_use]
    pub fn summary(&self) -> String {
        self.fold.summary()
    }
}

/// Where derived data and events differ.
#[derive(Debug, Default)]
pub struct Differences {
    /// The first ones, a sentence each.
    pub examples: Vec<String>,
    /// How many there are in all.
    pub count: u64,
}

impl Differences {
    fn add(&mut self, difference: fmt::Arguments<'_>) {
        self.count += 1;
        if self.examples.len() < MAX_EXAMPLES {
            self.examples.push(difference.to_string());
        }
    }
}
