//! One stored event with everything that is known about it, and the line it becomes in an export.

use crate::{Checkpoint, Timestamp};
use std::fmt::Write;
use uuid::Uuid;

/// An event as the log keeps it. The log, the bus and the projections all speak it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
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
