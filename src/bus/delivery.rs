//! One message as a processor sees it, and the answers that a processor may give.

use super::cloud_event::Envelope;
use async_nats::jetstream::Message;
use domain::Timestamp;
use std::time::Duration;
use uuid::Uuid;

/// A delivered event, maybe not for the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The event's position in the log.
    pub position: i64,
    pub event_id: Uuid,
    pub aggregate_id: Uuid,
    pub recorded_at: Timestamp,
    pub correlation_id: Option<Uuid>,
    /// W3C trace context.
    pub traceparent: Option<String>,
    pub subject: String,
    /// Number of deliveries, including this one.
    pub attempts: i64,
}

/// What a processor says about a message. It never acknowledges anything itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// What came of it is committed.
    Done,
    /// Bring it again, after this.
    RetryAfter(Duration),
    /// It cannot be handled, now or later: a person must look.
    Park { reason: String },
}

/// A message that cannot be handled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UndeliverableMessage {
    /// Its sequence in the stream: the event's position in the log.
    pub position: i64,
    pub subject: String,
    /// The event's id, where the message has one.
    pub event_id: Option<Uuid>,
    /// The aggregate's id, where the message has one.
    pub aggregate_id: Option<Uuid>,
    /// How often it was delivered.
    pub attempts: i64,
    pub reason: String,
}

impl UndeliverableMessage {
    /// `delivery`, without a reason yet.
    pub(super) fn about(delivery: &Delivery) -> Self {
        Self {
            position: delivery.position,
            subject: delivery.subject.clone(),
            event_id: Some(delivery.event_id),
            aggregate_id: Some(delivery.aggregate_id),
            attempts: delivery.attempts,
            reason: String::new(),
        }
    }
}

impl Delivery {
    /// Reads `message`; a message that cannot be read is undeliverable.
    pub(super) fn read(message: &Message) -> Result<Self, UndeliverableMessage> {
        let (position, attempts) = sequence_and_attempts(message);
        let unread = |reason: String| UndeliverableMessage {
            position,
            subject: message.subject.to_string(),
            event_id: None,
            aggregate_id: None,
            attempts,
            reason,
        };
        let event = Envelope::read(&message.payload).map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
            unread(format!("{error}: {cause}"))
        })?;
        if event.position != position.to_string() {
            return Err(unread(format!("it says that its position is {}", event.position)));
        }
        let headers = message.headers.as_ref();
        let traceparent = headers.and_then(|headers| headers.get("traceparent"));
        Ok(Self {
            position,
            event_id: event.id,
            aggregate_id: event.subject,
            recorded_at: event.time,
            correlation_id: event.correlation_id,
            traceparent: traceparent.map(ToString::to_string),
            subject: message.subject.to_string(),
            attempts,
        })
    }
}

/// The message's sequence in the stream and the number of its deliveries; zeros if it does not say.
fn sequence_and_attempts(message: &Message) -> (i64, i64) {
    let info = message.info().map(|info| (i64::try_from(info.stream_sequence), info.delivered));
    info.map_or((0, 0), |(position, attempts)| (position.unwrap_or(i64::MAX), attempts))
}
