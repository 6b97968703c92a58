//! A commit: events for some streams, accepted whole or not at all.

use cqrs_es::Aggregate;
use domain::{AccountId, Money, Record, Recorded, Timestamp};
use std::fmt;
use uuid::Uuid;

/// The most events of one commit; a page is never smaller, so every reader can take a whole commit.
pub const MAX_COMMIT_EVENTS: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamId {
    /// The aggregate's type, such as `Transaction`.
    pub aggregate_type: &'static str,
    pub aggregate_id: Uuid,
}

impl StreamId {
    /// The stream of the aggregate `A` with this id.
    #[must_use]
    pub fn of<A: Aggregate>(aggregate_id: Uuid) -> Self {
        Self { aggregate_type: A::TYPE, aggregate_id }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.aggregate_type, self.aggregate_id)
    }
}

/// An event that has no position yet.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// Unique for ever.
    pub event_id: Uuid,
    /// Such as `Succeeded`.
    pub event_type: String,
    /// Such as `1.0`.
    pub event_version: String,
    pub payload: String,
}

#[derive(Clone, Debug)]
pub struct StreamWrite {
    pub stream: StreamId,
    /// The sequence of its last event as the decision saw it; 0 for a new one.
    pub expected_version: i64,
    /// In order, at least one.
    pub events: Vec<NewEvent>,
}

/// Events that are accepted whole or not at all.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// New events, 1 to `MAX_COMMIT_EVENTS` in all.
    pub writes: Vec<StreamWrite>,
    /// Streams that the decision has read and that must not have moved: (stream, version).
    pub expected_versions: Vec<(StreamId, i64)>,
    /// What the events move on owners' accounts, one row an account, signed.
    pub entries: Vec<(AccountId, Money)>,
    /// The first event's id is derived from what a client may repeat: if it is in the log already,
    /// the commit is a repeat.
    pub is_idempotent: bool,
    /// The metadata of every event here: a JSON object of strings.
    pub metadata: String,
}

impl Commit {
    /// How many events it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.writes.iter().map(|write| write.events.len()).sum()
    }

    /// True when there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its events as the table has them once it is `committed`.
    pub(super) fn recorded(self, committed: &Committed) -> impl Iterator<Item = Recorded> {
        let Committed { first, last, recorded_at, .. } = *committed;
        let metadata = self.metadata;
        let events = self.writes.into_iter().flat_map(|write| {
            let sequences = write.expected_version + 1..;
            write
                .events
                .into_iter()
                .zip(sequences)
                .map(move |(event, sequence)| (write.stream, event, sequence))
        });
        events.zip(first..).map(move |((stream, event, sequence), position)| {
            Recorded::from(Record {
                position,
                event_id: event.event_id,
                aggregate_type: stream.aggregate_type.to_owned(),
                aggregate_id: stream.aggregate_id.to_string(),
                sequence,
                event_type: event.event_type,
                event_version: event.event_version,
                recorded_at,
                payload: event.payload,
                metadata: metadata.clone(),
                commit_end: last,
            })
        })
    }

    /// The id by which a repeat of it is recognised.
    pub(super) fn idempotent_event_id(&self) -> Option<Uuid> {
        self.first_event_id().filter(|_| self.is_idempotent)
    }

    /// The id of its first event, by which a lost answer is looked up.
    #[must_use]
    pub fn first_event_id(&self) -> Option<Uuid> {
        self.writes.first().and_then(|write| write.events.first()).map(|event| event.event_id)
    }
}

/// Where an accepted commit stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Committed {
    pub first: i64,
    pub last: i64,
    pub recorded_at: Timestamp,
    /// The balances of the accounts it moved, right after it.
    pub balances: Vec<(AccountId, Money)>,
}
