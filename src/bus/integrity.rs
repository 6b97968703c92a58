//! Judges, purely, whether a stream is a true copy of the log's beginning.
//!
//! Because each message is published under the fence "the last message is the event before me, at its
//! own sequence", a stream that starts at 1, has no holes and ends with the log's own event is right in
//! between too.

use async_nats::HeaderMap;
use async_nats::jetstream::stream;
use std::fmt;
use uuid::Uuid;

/// The header with an event's position.
pub(super) const POSITION: &str = "Offers-Position";

/// How many messages a stream holds, from where to where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) messages: u64,
    pub(super) first: u64,
    pub(super) last: u64,
}

impl From<&stream::State> for Shape {
    fn from(state: &stream::State) -> Self {
        Self { messages: state.messages, first: state.first_sequence, last: state.last_sequence }
    }
}

/// Which event a message says it is; `None` where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    position: Option<u64>,
    event_id: Option<Uuid>,
}

impl Stamp {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let read = |name: &str| headers.get(name).map(async_nats::HeaderValue::as_str);
        Self {
            position: read(POSITION).and_then(|text| text.parse().ok()),
            event_id: read(async_nats::header::NATS_MESSAGE_ID.as_ref()).and_then(|text| text.parse().ok()),
        }
    }
}

/// What is wrong with a stream: it must be made anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spoiled {
    /// Messages are missing at its beginning.
    Purged,
    /// Messages are missing further on.
    Holed,
    /// Its last message is not at its place, or not an event.
    Foreign,
    /// It goes on where the log has ended.
    Ahead,
    /// Its last message is an event of another log.
    OtherLog,
    /// The server takes an event for a duplicate of one that it does not hold.
    Forgotten,
}

impl fmt::Display for Spoiled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Purged => "its first messages are gone",
            Self::Holed => "messages in it are gone",
            Self::Foreign => "its last message is not the event of that position",
            Self::Ahead => "it goes on where the log has ended",
            Self::OtherLog => "it was filled from another log",
            Self::Forgotten => "the server remembers events that it does not hold",
        })
    }
}

/// The part of the judgement that needs nothing but the stream's state.
pub(super) fn outline(shape: &Shape) -> Result<(), Spoiled> {
    match shape {
        Shape { messages: 0, last: 0, .. } => Ok(()),
        Shape { messages: 0, .. } => Err(Spoiled::Purged),
        Shape { first, .. } if *first != 1 => Err(Spoiled::Purged),
        Shape { messages, last, .. } if messages != last => Err(Spoiled::Holed),
        _ => Ok(()),
    }
}

/// Judges the `last` message of a stream, at `sequence`, by the event that the log has there.
pub(super) fn ending(sequence: u64, last: Stamp, logged: Option<Uuid>) -> Result<(), Spoiled> {
    match (last, logged) {
        (Stamp { position, event_id }, _) if position != Some(sequence) || event_id.is_none() => {
            Err(Spoiled::Foreign)
        }
        (_, None) => Err(Spoiled::Ahead),
        (Stamp { event_id, .. }, logged) if event_id != logged => Err(Spoiled::OtherLog),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(messages: u64, first: u64, last: u64) -> Shape {
        Shape { messages, first, last }
    }

    #[test]
    fn a_stream_starts_at_one_and_has_no_holes() {
        assert_eq!(outline(&shape(0, 0, 0)), Ok(()), "a new one");
        assert_eq!(outline(&shape(9, 1, 9)), Ok(()));
        assert_eq!(outline(&shape(0, 10, 9)), Err(Spoiled::Purged), "purged whole");
        assert_eq!(outline(&shape(3, 7, 9)), Err(Spoiled::Purged), "purged in part");
        assert_eq!(outline(&shape(8, 1, 9)), Err(Spoiled::Holed), "one message deleted");
    }

    #[test]
    fn a_stream_ends_with_the_event_that_the_log_has_there() {
        let (ours, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let stamp = |position| Stamp { position: Some(position), event_id: Some(ours) };
        assert_eq!(ending(9, stamp(9), Some(ours)), Ok(()));
        assert_eq!(ending(9, stamp(8), Some(ours)), Err(Spoiled::Foreign), "shifted");
        assert_eq!(ending(9, Stamp::default(), Some(ours)), Err(Spoiled::Foreign));
        assert_eq!(ending(9, stamp(9), None), Err(Spoiled::Ahead), "the log was rolled back");
        assert_eq!(ending(9, stamp(9), Some(other)), Err(Spoiled::OtherLog));
    }
}
