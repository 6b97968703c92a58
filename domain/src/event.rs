//! Any event, read back from the log.

use crate::{Record, account, offer, transaction, user_offer, versions};
use cqrs_es::Aggregate;

/// What an event is called outside: `transaction.activation_requested` for the event
/// `ActivationRequested` of a `Transaction`.
#[must_use]
pub fn dotted(aggregate_type: &str, event_type: &str) -> String {
    let mut name = String::with_capacity(aggregate_type.len() + event_type.len() + 8);
    push_snake_case(&mut name, aggregate_type);
    name.push('.');
    push_snake_case(&mut name, event_type);
    name
}

fn push_snake_case(name: &mut String, pascal_case: &str) {
    for (at, character) in pascal_case.chars().enumerate() {
        if character.is_ascii_uppercase() && at > 0 {
            name.push('_');
        }
        name.push(character.to_ascii_lowercase());
    }
}

/// An event of any aggregate.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Of a transaction.
    Transaction(transaction::Event),
    /// Of a subscription.
    UserOffer(user_offer::Event),
    /// Of the catalogue.
    Offer(offer::Event),
    /// Of an account.
    Account(account::Event),
}

/// A stored event that this version of the system cannot read.
#[derive(Debug, thiserror::Error)]
#[error("the event at position {position} ({aggregate_type} {event_type}) cannot be read")]
pub struct UnknownEvent {
    position: i64,
    aggregate_type: String,
    event_type: String,
    #[source]
    cause: Option<serde_json::Error>,
}

impl Event {
    /// Reads the payload of `record`: see [`Recorded::event`](crate::Recorded::event).
    pub(crate) fn decode(record: &Record) -> Result<Self, UnknownEvent> {
        let payload = versions::current_payload(record).ok_or_else(|| unknown(record, None))?;
        Self::read(record, &payload)
    }

    /// Reads a payload that `record` has, in its current version.
    pub(crate) fn read(record: &Record, payload: &str) -> Result<Self, UnknownEvent> {
        let read = match record.aggregate_type.as_str() {
            transaction::Transaction::TYPE => serde_json::from_str(payload).map(Self::Transaction),
            user_offer::UserOffer::TYPE => serde_json::from_str(payload).map(Self::UserOffer),
            offer::Offer::TYPE => serde_json::from_str(payload).map(Self::Offer),
            account::Account::TYPE => serde_json::from_str(payload).map(Self::Account),
            _ => return Err(unknown(record, None)),
        };
        let event = read.map_err(|cause| unknown(record, Some(cause)))?;
        if event.name() == record.event_type { Ok(event) } else { Err(unknown(record, None)) }
    }

    fn name(&self) -> &str {
        match self {
            Self::Transaction(event) => event.as_ref(),
            Self::UserOffer(event) => event.as_ref(),
            Self::Offer(event) => event.as_ref(),
            Self::Account(event) => event.as_ref(),
        }
    }
}

fn unknown(record: &Record, cause: Option<serde_json::Error>) -> UnknownEvent {
    UnknownEvent {
        position: record.position,
        aggregate_type: record.aggregate_type.clone(),
        event_type: record.event_type.clone(),
        cause,
    }
}
