//! One stored event with everything that is known about it, and the line it becomes in an export.

use crate::{Checkpoint, Event, Timestamp, UnknownEvent};
use std::fmt::{self, Write};
use std::ops::Deref;
use std::sync::{Arc, OnceLock};
use uuid::Uuid;

/// An event as the log gives it. The log, the bus and the projections all speak it. Cheap to clone: all who read it share
/// one record, and its payload is decoded once, when the first of them asks.
#[derive(Clone)]
pub struct Recorded(Arc<Shared>);

struct Shared {
    record: Record,
    event: OnceLock<Event>,
}

/// An event as the log keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// 1, 2, 3 … over the whole log, without gaps.
    pub position: i64,
    /// Unique for ever; consumers deduplicate on it.
    pub event_id: Uuid,
    /// Which kind of aggregate: `Transaction`, `UserOffer`, `Offer` or `Account`.
    pub aggregate_type: String,
    /// Which one.
    pub aggregate_id: String,
    /// 1, 2, 3 … within the aggregate.
    pub sequence: i64,
    /// The past fact's name, such as `Succeeded`.
    pub event_type: String,
    /// The payload's shape, such as `1.0`.
    pub event_version: String,
    /// When it was appended; never decreases from one position to the next.
    pub recorded_at: Timestamp,
    /// One flat JSON object, byte for byte as stored.
    pub payload: String,
    /// A JSON object of strings, byte for byte as stored.
    pub metadata: String,
    /// The position of the last event of the same commit. Not part of the record line.
    pub commit_end: i64,
}

impl Recorded {
    /// What its payload says, whatever version it has.
    ///
    /// # Errors
    /// `UnknownEvent` for an aggregate, a payload or a payload's version that this version of the
    /// system does not know, or a payload that is not what `event_type` says: a reader must stop there
    /// rather than skip it or take it for something else.
    pub fn event(&self) -> Result<&Event, UnknownEvent> {
        if let Some(event) = self.0.event.get() {
            return Ok(event);
        }
        let event = Event::decode(&self.0.record)?;
        Ok(self.0.event.get_or_init(|| event))
    }
}

impl From<Record> for Recorded {
    fn from(record: Record) -> Self {
        Self(Arc::new(Shared { record, event: OnceLock::new() }))
    }
}

impl Deref for Recorded {
    type Target = Record;

    fn deref(&self) -> &Record {
        &self.0.record
    }
}

impl PartialEq for Recorded {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Recorded {}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl Record {
    /// The checkpoint of what contains everything up to this event.
    #[must_use]
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint { position: self.position, event_id: self.event_id }
    }

    /// The aggregate's id as a UUID; the ids of all our aggregates are.
    ///
    /// # Errors
    /// For an event that another system wrote.
    pub fn aggregate_uuid(&self) -> Result<Uuid, uuid::Error> {
        self.aggregate_id.parse()
    }

    /// The record, version 1, without a newline: exactly what the Merkle tree hashes, so these ten
    /// members and their order are frozen. `payload` and `metadata` stand as stored.
    #[must_use]
    pub fn line(&self) -> String {
        let mut line = String::with_capacity(self.payload.len() + self.metadata.len() + 360);
        write!(line, r#"{{"position":{},"event_id":"{}","aggregate_type":"#, self.position, self.event_id)
            .expect("a String takes every write");
        push_json_string(&mut line, &self.aggregate_type);
        line.push_str(r#","aggregate_id":"#);
        push_json_string(&mut line, &self.aggregate_id);
        write!(line, r#","sequence":{},"event_type":"#, self.sequence).expect("a String takes every write");
        push_json_string(&mut line, &self.event_type);
        line.push_str(r#","event_version":"#);
        push_json_string(&mut line, &self.event_version);
        write!(line, r#","recorded_at":"{}","payload":"#, self.recorded_at)
            .expect("a String takes every write");
        line.push_str(&self.payload);
        line.push_str(r#","metadata":"#);
        line.push_str(&self.metadata);
        line.push('}');
        line
    }
}

/// Appends `text` as a JSON string with its quotes.
fn push_json_string(line: &mut String, text: &str) {
    line.push_str(&serde_json::to_string(text).expect("a string is always JSON"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ptr;

    fn recorded(payload: &str) -> Recorded {
        let record = Record {
            position: 1,
            event_id: Uuid::nil(),
            aggregate_type: "Offer".to_owned(),
            aggregate_id: Uuid::nil().to_string(),
            sequence: 1,
            event_type: "Deactivated".to_owned(),
            event_version: crate::FIRST_VERSION.to_owned(),
            recorded_at: "2026-11-22T08:30:00Z".parse().expect("a moment"),
            payload: payload.to_owned(),
            metadata: "{}".to_owned(),
            commit_end: 1,
        };
        record.into()
    }

    #[test]
    fn all_who_read_an_event_share_its_record_and_what_was_decoded_once() {
        let first = recorded(r#"{"type":"Deactivated"}"#);
        let second = first.clone();
        assert_eq!(first.payload.as_ptr(), second.payload.as_ptr(), "one record");
        let decoded = first.event().expect("an event");
        assert!(ptr::eq(decoded, second.event().expect("an event")), "one event");
    }

    #[test]
    fn what_cannot_be_read_is_refused_each_time() {
        let broken = recorded("{");
        assert!(broken.event().is_err() && broken.event().is_err());
    }
}
