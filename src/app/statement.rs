//! Statements: what came into an account and left it, with the balance after each entry.

use super::Error;
use crate::event_log::{At, EventLog, LogError};
use domain::{
    AccountId, Event, Metadata, Money, Recorded, Slice, Timestamp, TransactionId, account, transaction,
};
use projections::Readers;
use projections::statement;
use std::collections::HashMap;

pub struct Statements {
    log: EventLog,
    readers: Readers,
}

/// The part of a statement that is asked for; an absent end has no limit.
#[derive(Clone, Copy, Debug, Default)]
pub struct Period {
    /// From this time on.
    pub from: Option<Timestamp>,
    /// Before this time.
    pub to: Option<Timestamp>,
}

/// For whom a statement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Sees why money was paid in or out, not what administrators wrote for each other.
    Owner,
    Admin,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Of its event.
    pub position: i64,
    pub at: Timestamp,
    pub kind: EntryKind,
    /// Signed; 0.00 for a charge.
    pub amount: Money,
    /// After it.
    pub balance: Money,
    /// `None` for a credit or a debit.
    pub transaction_id: Option<TransactionId>,
    /// In a person's words.
    pub reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryKind {
    /// Paid in.
    Credit,
    /// Paid out.
    Debit,
    /// Reserved for a transaction.
    Hold,
    /// A hold that came back.
    Release,
    /// A hold that became final.
    Charge,
}

impl Statements {
    #[must_use]
    pub fn new(log: EventLog, readers: Readers) -> Self {
        Self { log, readers }
    }

    /// The entries of `account` within `period`, newest first, after the key `after`.
    pub async fn list(
        &self,
        account: AccountId,
        audience: Audience,
        period: Period,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Slice<Entry, i64>, Error> {
        let span = self.log.span(period.from.map(At::Time), period.to.map(At::Time)).await?;
        let positions = span.after.saturating_add(1)..=span.up_to;
        let found = self.readers.statement(account.0, positions, after, limit).await?;
        let positions: Vec<i64> = found.items.iter().map(|entry| entry.position).collect();
        let events = self.log.events_at(&positions).await?;
        let events: HashMap<i64, &Recorded> = events.iter().map(|event| (event.position, event)).collect();
        let explain = |entry: &statement::Entry| {
            let why = || "an entry of a statement has no event".to_owned();
            let missing = || LogError::Broken { position: entry.position, why: why() };
            Entry::of(entry, events.get(&entry.position).ok_or_else(missing)?, audience)
        };
        let items = found.items.iter().map(explain).collect::<Result<_, _>>()?;
        Ok(Slice { items, next: found.next })
    }
}

impl Entry {
    fn of(entry: &statement::Entry, event: &Recorded, audience: Audience) -> Result<Self, LogError> {
        let broken = |why: &str| LogError::Broken { position: event.position, why: why.to_owned() };
        let kind = kind(event.event()?).ok_or_else(|| broken("the event moves no account"))?;
        let is_own = matches!(kind, EntryKind::Credit | EntryKind::Debit);
        let transaction_id = match is_own {
            true => None,
            false => Some(event.aggregate_uuid().map_err(|_| broken("its aggregate has no UUID"))?.into()),
        };
        let reason = match is_own || audience == Audience::Admin {
            true => {
                serde_json::from_str::<Metadata>(&event.metadata).ok().and_then(|metadata| metadata.reason)
            }
            false => None,
        };
        let statement::Entry { position, amount, balance } = *entry;
        Ok(Self { position, at: event.recorded_at, kind, amount, balance, transaction_id, reason })
    }
}

fn kind(event: &Event) -> Option<EntryKind> {
    match event {
        Event::Account(account::Event::Credited { .. }) => Some(EntryKind::Credit),
        Event::Account(account::Event::Debited { .. }) => Some(EntryKind::Debit),
        Event::Transaction(transaction::Event::ActivationRequested(_)) => Some(EntryKind::Hold),
        Event::Transaction(transaction::Event::Refunded { .. }) => Some(EntryKind::Release),
        Event::Transaction(transaction::Event::Succeeded { .. }) => Some(EntryKind::Charge),
        _ => None,
    }
}
