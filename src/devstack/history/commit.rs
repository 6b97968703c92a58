//! Turns decisions of the aggregates into the events of one commit.

use cqrs_es::DomainEvent;
use domain::{AccountId, Entry, Ledger, Metadata, Money, Record, Recorded, Rules, Timestamp};
use rand::Rng;
use rand::rngs::StdRng;
use serde::Serialize;
use std::collections::HashMap;
use uuid::{Builder, Uuid};

/// One aggregate as it is remembered between its commands.
pub(super) struct Stream<A> {
    pub(super) id: Uuid,
    pub(super) state: A,
    version: i64,
}

impl<A: Rules<Event: Serialize>> Stream<A> {
    pub(super) fn new(id: Uuid) -> Self {
        Self { id, state: A::default(), version: 0 }
    }

    /// Adds the events that `command` leads to; none if the rule refuses it.
    pub(super) fn handle(&mut self, command: A::Command, commit: &mut Commit) {
        for event in self.state.decide(command).unwrap_or_default() {
            commit.entries.extend(self.state.postings(self.id, &event));
            self.version += 1;
            commit.events.push(Decided {
                aggregate_type: A::TYPE,
                aggregate_id: self.id,
                sequence: self.version,
                event_type: event.event_type(),
                event_version: event.event_version(),
                payload: serde_json::to_string(&event).expect("an event is plain data"),
            });
            self.state.apply(event);
        }
    }
}

struct Decided {
    aggregate_type: &'static str,
    aggregate_id: Uuid,
    sequence: i64,
    event_type: String,
    event_version: String,
    payload: String,
}

/// What is decided together.
#[derive(Default)]
pub(super) struct Commit {
    events: Vec<Decided>,
    entries: Vec<Entry>,
}

impl Commit {
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }
}

/// The log as it grows.
pub(super) struct Log {
    pub(super) rng: StdRng,
    pub(super) now: Timestamp,
    pub(super) position: i64,
    pub(super) balances: HashMap<AccountId, Money>,
}

impl Log {
    /// A fresh id of now: a UUID of version 7.
    pub(super) fn id(&mut self) -> Uuid {
        let millis = self.now.utc().timestamp_millis().max(0).unsigned_abs();
        Builder::from_unix_timestamp_millis(millis, &self.rng.random()).into_uuid()
    }

    /// Gives the events of `commit` their positions.
    pub(super) fn append(&mut self, commit: Commit, actor: String) -> Vec<Recorded> {
        for entry in &commit.entries {
            if let Ledger::Owner(account) = entry.ledger {
                let balance = self.balances.entry(account).or_default();
                *balance = [*balance, entry.amount].into_iter().sum();
            }
        }
        let metadata = Metadata { actor: Some(actor), ..Metadata::new(self.id()) };
        let metadata = serde_json::to_string(&metadata).expect("metadata is an object of strings");
        let first = self.position + 1;
        self.position += i64::try_from(commit.events.len()).expect("a commit has a few events");
        let (commit_end, recorded_at) = (self.position, self.now);
        let events = commit.events.into_iter().zip(first..);
        events
            .map(|(event, position)| {
                Recorded::from(Record {
                    position,
                    // The first event of a transaction has its id.
                    event_id: match event.event_type.as_str() {
                        "ActivationRequested" => event.aggregate_id,
                        _ => self.id(),
                    },
                    aggregate_type: event.aggregate_type.to_owned(),
                    aggregate_id: event.aggregate_id.to_string(),
                    sequence: event.sequence,
                    event_type: event.event_type,
                    event_version: event.event_version,
                    recorded_at,
                    payload: event.payload,
                    metadata: metadata.clone(),
                    commit_end,
                })
            })
            .collect()
    }
}
