//! An account: what came in from outside and went out again.
//!
//! Purchases are events of transactions, not of accounts, so that buyers do not queue on one stream.
//! Whether there is enough money is judged by the log, which sees both.

mod command;
mod error;
mod event;
#[cfg(test)]
mod tests;

pub use command::Command;
pub use error::Error;
pub use event::{Event, Kind};

use crate::postings::transfer;
use crate::{AccountId, Entry, Ledger, Rules, rules};
use cqrs_es::{Aggregate, event_sink::EventSink};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The state of one account. An account that was never opened has 0.00 and can be credited.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub enum Account {
    /// Not opened yet.
    #[default]
    Unopened,
    /// Opened for an owner of this kind.
    Opened(Kind),
}

impl Rules for Account {
    fn decide(&self, command: Command) -> Result<Vec<Event>, Error> {
        match (self, command) {
            (Self::Unopened, Command::Open { kind }) => Ok(vec![Event::Opened { kind }]),
            (Self::Opened(known), Command::Open { kind }) if *known == kind => Ok(vec![]), // a repeat
            (Self::Opened(_), Command::Open { .. }) => Err(Error::OpenedForAnother),
            (_, Command::Credit { amount } | Command::Debit { amount }) if !amount.is_positive() => {
                Err(Error::AmountNotPositive)
            }
            (_, Command::Credit { amount }) => Ok(vec![Event::Credited { amount }]),
            (_, Command::Debit { amount }) => Ok(vec![Event::Debited { amount }]),
        }
    }

    fn postings(&self, id: Uuid, event: &Event) -> Vec<Entry> {
        let owner = Ledger::Owner(AccountId(id));
        match event {
            Event::Opened { .. } => vec![],
            Event::Credited { amount } => transfer(Ledger::Funding, owner, *amount),
            Event::Debited { amount } => transfer(owner, Ledger::Funding, *amount),
        }
    }
}

impl Aggregate for Account {
    const TYPE: &'static str = "Account";
    type Command = Command;
    type Event = Event;
    type Error = Error;
    type Services = ();

    async fn handle(&mut self, command: Command, (): &(), sink: &EventSink<Self>) -> Result<(), Error> {
        rules::handle(self, command, sink).await
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Opened { kind } => *self = Self::Opened(kind),
            Event::Credited { .. } | Event::Debited { .. } => {} // the balance is the log's to keep
        }
    }
}
