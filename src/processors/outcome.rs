//! What a processor says about an event, and what it could not handle: in its own words, and translated from
//! and for the bus.

use crate::bus::{UndeliverableMessage, Verdict};
use std::time::Duration;
use uuid::Uuid;

/// The result of handling one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Everything that follows from the event is committed.
    Done,
    /// Try again, after this delay.
    RetryAfter(Duration),
    /// It cannot be handled, now or later: an operator must look.
    Park { reason: String },
}

/// Something that could not be handled, for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unhandled {
    /// The event's position in the log.
    pub position: i64,
    /// The message's subject, or the processor's name for the work.
    pub subject: String,
    /// `None` for a message that could not be read.
    pub event_id: Option<Uuid>,
    pub aggregate_id: Option<Uuid>,
    pub attempts: i64,
    pub reason: String,
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::Done,
            Outcome::RetryAfter(delay) => Self::RetryAfter(delay),
            Outcome::Park { reason } => Self::Park { reason },
        }
    }
}

impl From<UndeliverableMessage> for Unhandled {
    fn from(message: UndeliverableMessage) -> Self {
        let UndeliverableMessage { position, subject, event_id, aggregate_id, attempts, reason } = message;
        Self { position, subject, event_id, aggregate_id, attempts, reason }
    }
}
