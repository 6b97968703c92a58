//! Decides, as pure functions, whether a stream is a true copy of the log's newest events.
//!
//! The stream is a window: it begins at some position, and drops the oldest messages when it is full. Each
//! message is published on the condition that the last message is the event before it, at its own sequence.
//! So a stream that has no holes and ends with the log's event is right in between too.

use async_nats::header::NATS_MESSAGE_ID;
use async_nats::jetstream::stream;
use async_nats::{HeaderMap, HeaderName, HeaderValue};
use std::fmt;
use uuid::Uuid;

/// The header with an event's position.
pub(super) const POSITION: HeaderName = HeaderName::from_static("Offers-Position");

/// The number of messages in a stream, and its first and last sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct StreamState {
    /// The sequence with which the stream was created.
    pub(super) begin: u64,
    /// The stream is so large that it may have dropped its oldest messages.
    pub(super) full: bool,
    pub(super) messages: u64,
    pub(super) first: u64,
    pub(super) last: u64,
}

impl From<&stream::Info> for StreamState {
    fn from(info: &stream::Info) -> Self {
        let state = &info.state;
        Self {
            begin: info.config.first_sequence.unwrap_or(1).max(1),
            // Well below the limit: messages differ in size, and the limit may have been raised a little.
            full: i64::try_from(state.bytes).is_ok_and(|bytes| bytes > info.config.max_bytes / 2),
            messages: state.messages,
            first: state.first_sequence,
            last: state.last_sequence,
        }
    }
}

impl StreamState {
    /// Whether it has a message at `position`.
    pub(super) fn has(&self, position: i64) -> bool {
        u64::try_from(position).is_ok_and(|sequence| (self.first..=self.last).contains(&sequence))
    }
}

/// The event that a message claims to be; `None` where it claims nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct MessageId {
    position: Option<u64>,
    event_id: Option<Uuid>,
}

impl MessageId {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let read = |name: HeaderName| headers.get(name).map(HeaderValue::as_str);
        Self {
            position: read(POSITION).and_then(|text| text.parse().ok()),
            event_id: read(NATS_MESSAGE_ID).and_then(|text| text.parse().ok()),
        }
    }
}

/// Why a stream is not a copy of the log and must be recreated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Divergence {
    /// The first messages are missing.
    Purged,
    Holed,
    /// A message is at another position, or not an event.
    Foreign,
    /// The stream goes on after the end of the log.
    Ahead,
    /// The last message is an event of another log.
    OtherLog,
    /// The server rejects an event as a duplicate of one that it does not have.
    Forgotten,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Purged => "its first messages are gone",
            Self::Holed => "messages in it are gone",
            Self::Foreign => "its last message is not the event of that position",
            Self::Ahead => "it goes on after the end of the log",
            Self::OtherLog => "it was filled from another log",
            Self::Forgotten => "the server remembers events that it does not have",
        })
    }
}

/// The part of the check that needs only the stream's state.
pub(super) fn check_range(state: &StreamState) -> Result<(), Divergence> {
    let StreamState { begin, full, messages, first, last } = *state;
    let is_purged = if messages == 0 { last >= begin } else { first > begin && !full };
    if is_purged { Err(Divergence::Purged) } else { check_holes(state) }
}

/// The part of that which holds for the mirror too: it has whatever the stream still had.
pub(super) fn check_holes(state: &StreamState) -> Result<(), Divergence> {
    let StreamState { messages, first, last, .. } = *state;
    if messages > 0 && first + messages != last + 1 { Err(Divergence::Holed) } else { Ok(()) }
}

/// Compares the message of a stream at `sequence` with the event that the log has there.
pub(super) fn check_message(sequence: u64, found: MessageId, logged: Option<Uuid>) -> Result<(), Divergence> {
    match (found, logged) {
        (MessageId { position, event_id }, _) if position != Some(sequence) || event_id.is_none() => {
            Err(Divergence::Foreign)
        }
        (_, None) => Err(Divergence::Ahead),
        (MessageId { event_id, .. }, logged) if event_id != logged => Err(Divergence::OtherLog),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(messages: u64, first: u64, last: u64) -> StreamState {
        StreamState { begin: 1, full: false, messages, first, last }
    }

    #[test]
    fn a_stream_starts_at_one_and_has_no_holes() {
        assert_eq!(check_range(&shape(0, 0, 0)), Ok(()), "a new one");
        assert_eq!(check_range(&shape(9, 1, 9)), Ok(()));
        assert_eq!(check_range(&shape(0, 10, 9)), Err(Divergence::Purged), "purged whole");
        assert_eq!(check_range(&shape(3, 7, 9)), Err(Divergence::Purged), "purged in part");
        assert_eq!(check_range(&shape(8, 1, 9)), Err(Divergence::Holed), "one message deleted");
    }

    #[test]
    fn a_full_stream_has_dropped_its_oldest_messages() {
        let full = |messages, first, last| StreamState { full: true, ..shape(messages, first, last) };
        assert_eq!(check_range(&full(3, 7, 9)), Ok(()));
        assert_eq!(check_range(&full(2, 7, 9)), Err(Divergence::Holed));
        assert_eq!(check_range(&full(0, 10, 9)), Err(Divergence::Purged), "it never drops the newest");
    }

    #[test]
    fn a_stream_may_be_created_to_begin_later() {
        let later = |messages, first, last| StreamState { begin: 7, ..shape(messages, first, last) };
        assert_eq!(check_range(&later(0, 7, 6)), Ok(()), "a new one");
        assert_eq!(check_range(&later(3, 7, 9)), Ok(()));
        assert_eq!(check_range(&later(2, 8, 9)), Err(Divergence::Purged));
    }

    #[test]
    fn a_stream_ends_with_the_event_that_the_log_has_there() {
        let (ours, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let stamp = |position| MessageId { position: Some(position), event_id: Some(ours) };
        assert_eq!(check_message(9, stamp(9), Some(ours)), Ok(()));
        assert_eq!(check_message(9, stamp(8), Some(ours)), Err(Divergence::Foreign), "shifted");
        assert_eq!(check_message(9, MessageId::default(), Some(ours)), Err(Divergence::Foreign));
        assert_eq!(check_message(9, stamp(9), None), Err(Divergence::Ahead), "the log was rolled back");
        assert_eq!(check_message(9, stamp(9), Some(other)), Err(Divergence::OtherLog));
    }
}
