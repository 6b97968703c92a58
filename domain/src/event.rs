//! Any event, read back from the log.

use crate::{Recorded, account, offer, transaction, user_offer, versions};
use cqrs_es::{Aggregate, DomainEvent};

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
    /// Reads the payload of `recorded`, whatever version it has.
    ///
    /// # Errors
    /// `UnknownEvent` for an aggregate, a payload or a payload's version that this version of the
    /// system does not know, or a payload that is not what `event_type` says: a reader must stop there
    /// rather than skip it or take it for something else.
    pub fn decode(recorded: &Recorded) -> Result<Self, UnknownEvent> {
        let payload = versions::current_payload(recorded).ok_or_else(|| unknown(recorded, None))?;
        Self::read(recorded, &payload)
    }

    /// Reads a payload that `recorded` has, in its current version.
    pub(crate) fn read(recorded: &Recorded, payload: &str) -> Result<Self, UnknownEvent> {
        let read = match recorded.aggregate_type.as_str() {
            transaction::Transaction::TYPE => serde_json::from_str(payload).map(Self::Transaction),
            user_offer::UserOffer::TYPE => serde_json::from_str(payload).map(Self::UserOffer),
            offer::Offer::TYPE => serde_json::from_str(payload).map(Self::Offer),
            account::Account::TYPE => serde_json::from_str(payload).map(Self::Account),
            _ => return Err(unknown(recorded, None)),
        };
        let event = read.map_err(|cause| unknown(recorded, Some(cause)))?;
        if event.name() == recorded.event_type { Ok(event) } else { Err(unknown(recorded, None)) }
    }

    fn name(&self) -> String {
        match self {
            Self::Transaction(event) => event.event_type(),
            Self::UserOffer(event) => event.event_type(),
            Self::Offer(event) => event.event_type(),
            Self::Account(event) => event.event_type(),
        }
    }
}

fn unknown(recorded: &Recorded, cause: Option<serde_json::Error>) -> UnknownEvent {
    UnknownEvent {
        position: recorded.position,
        aggregate_type: recorded.aggregate_type.clone(),
        event_type: recorded.event_type.clone(),
        cause,
    }
}
