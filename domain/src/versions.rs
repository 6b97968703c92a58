//! The versions of stored events, and how an old one is read.
//!
//! The log is never rewritten. An event whose payload needs another shape gets a new version, and one [`Step`] makes
//! a payload of the version before into the new one: every old payload goes through these steps before it is read.
//! `domain/golden` keeps the schema and payloads of each version that was ever written; the tests read all of them.

use crate::Record;
use cqrs_es::persist::{EventUpcaster, SerializedEvent};
use serde_json::Value;
use std::borrow::Cow;

/// The first version of every event.
pub const FIRST_VERSION: &str = "1.0";

/// Every step there is; those of one event in order.
const STEPS: &[Step] = &[];

/// From one version of an event's payload to the next.
pub(crate) struct Step {
    pub(crate) event_type: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    pub(crate) change: fn(Value) -> Value,
}

impl EventUpcaster for Step {
    fn can_upcast(&self, event_type: &str, event_version: &str) -> bool {
        (self.event_type, self.from) == (event_type, event_version)
    }

    fn upcast(&self, event: SerializedEvent) -> SerializedEvent {
        SerializedEvent { event_version: self.to.to_owned(), payload: (self.change)(event.payload), ..event }
    }
}

/// The version in which an event is written.
#[must_use]
pub fn current_version(event_type: &str) -> &'static str {
    current(STEPS, event_type)
}

fn current(steps: &[Step], event_type: &str) -> &'static str {
    steps.iter().rfind(|step| step.event_type == event_type).map_or(FIRST_VERSION, |step| step.to)
}

/// The payload of `record` in the version that is written today; `None` if it is of an unknown version or no JSON.
pub(crate) fn current_payload(record: &Record) -> Option<Cow<'_, str>> {
    upcast(STEPS, record)
}

pub(crate) fn upcast<'a>(steps: &[Step], record: &'a Record) -> Option<Cow<'a, str>> {
    let current = current(steps, &record.event_type);
    if record.event_version == current {
        return Some(Cow::Borrowed(&record.payload));
    }
    let mut event = SerializedEvent {
        aggregate_id: record.aggregate_id.clone(),
        sequence: usize::try_from(record.sequence).ok()?,
        aggregate_type: record.aggregate_type.clone(),
        event_type: record.event_type.clone(),
        event_version: record.event_version.clone(),
        payload: serde_json::from_str(&record.payload).ok()?,
        metadata: Value::Null,
    };
    for step in steps {
        if step.can_upcast(&event.event_type, &event.event_version) {
            event = step.upcast(event);
        }
    }
    (event.event_version == current).then(|| Cow::Owned(event.payload.to_string()))
}
