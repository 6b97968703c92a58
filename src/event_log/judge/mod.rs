//! Judges a batch of commits: pure, so that what guards the money can be tested without a database.
//!
//! Each commit is judged on its own, in order, on the state left by those accepted before it.

use super::commit::{Commit, StreamId};
use domain::{AccountId, Money};
use std::collections::HashMap;
use uuid::Uuid;

/// What the log holds, as far as it is known.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// The last position, 0 when empty.
    pub(super) head: i64,
    /// The sequence of each stream's last event; an absent one is judged as 0.
    pub(super) versions: HashMap<StreamId, i64>,
    /// What each owner has; an absent one is judged as 0.00.
    pub(super) balances: HashMap<AccountId, Money>,
    /// Whether an idempotent event id is in the log; an absent one is judged as not.
    pub(super) events: HashMap<Uuid, bool>,
}

/// What becomes of one commit.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Its events get the positions `first..=last`; the balances it leaves behind.
    Accepted { first: i64, last: i64, balances: Vec<(AccountId, Money)> },
    /// Its first event is in the log already.
    Repeated(Uuid),
    /// This stream has moved since the decision.
    Conflict(StreamId),
    /// This account would fall below zero.
    InsufficientFunds(AccountId),
    /// This account would exceed what a balance can hold.
    BalanceTooLarge(AccountId),
}

impl State {
    /// How much is known.
    pub(super) fn len(&self) -> usize {
        self.versions.len() + self.balances.len() + self.events.len()
    }

    /// Judges `commit` and, when it is accepted, moves on to the state after it.
    pub(super) fn judge(&mut self, commit: &Commit) -> Verdict {
        match self.refusal(commit) {
            Some(refusal) => refusal,
            None => match self.new_balances(commit) {
                Ok(balances) => self.accept(commit, balances),
                Err(refusal) => refusal,
            },
        }
    }

    /// A repeat is answered before anything else is looked at: the balance may have changed since.
    fn refusal(&self, commit: &Commit) -> Option<Verdict> {
        let repeated = |id: &Uuid| self.events.get(id).is_some_and(|is_in_the_log| *is_in_the_log);
        if let Some(id) = commit.idempotent_event_id().filter(repeated) {
            return Some(Verdict::Repeated(id));
        }
        let written = commit.writes.iter().map(|write| (write.stream, write.expected_version));
        let moved = |(stream, expected): &(StreamId, i64)| self.version(stream) != *expected;
        written
            .chain(commit.expected_versions.iter().copied())
            .find(moved)
            .map(|(stream, _)| Verdict::Conflict(stream))
    }

    fn new_balances(&self, commit: &Commit) -> Result<Vec<(AccountId, Money)>, Verdict> {
        let mut balances: Vec<(AccountId, Money)> = Vec::with_capacity(commit.entries.len());
        for (account, amount) in &commit.entries {
            let earlier = balances.iter().find(|(seen, _)| seen == account).map(|(_, balance)| *balance);
            let before = earlier.unwrap_or_else(|| self.balances.get(account).copied().unwrap_or_default());
            let after = before.checked_add(*amount).ok_or(Verdict::BalanceTooLarge(*account))?;
            balances.retain(|(seen, _)| seen != account);
            balances.push((*account, after));
        }
        match balances.iter().find(|(_, balance)| balance.is_negative()) {
            Some((account, _)) => Err(Verdict::InsufficientFunds(*account)),
            None => Ok(balances),
        }
    }

    fn accept(&mut self, commit: &Commit, balances: Vec<(AccountId, Money)>) -> Verdict {
        let first = self.head + 1;
        for write in &commit.writes {
            let count =
                i64::try_from(write.events.len()).expect("a commit has at most MAX_COMMIT_EVENTS events");
            self.head += count;
            *self.versions.entry(write.stream).or_default() += count;
        }
        self.balances.extend(balances.iter().copied());
        self.events.extend(commit.idempotent_event_id().map(|id| (id, true)));
        Verdict::Accepted { first, last: self.head, balances }
    }

    fn version(&self, stream: &StreamId) -> i64 {
        self.versions.get(stream).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
