//! Idempotent requests: a repeat is recognised by the id of the event that the first request wrote, for
//! ever and without a table of keys.

use super::Error;
use crate::event_log::EventLog;
use domain::ids::IdempotencyKey;
use domain::{Metadata, Recorded};
use uuid::Uuid;

/// What makes a request recognisable when it is repeated.
#[derive(Clone, Debug)]
pub struct IdempotentRequest {
    event_id: Uuid,
    /// What the client sent; absent without a key, because the request cannot be repeated then.
    request: Option<String>,
}

impl IdempotentRequest {
    /// `request` is what the client sent, parsed and rendered in one form, with the path and without
    /// what was looked up. Keys of different callers are independent.
    #[must_use]
    pub fn new(caller: Uuid, key: Option<IdempotencyKey>, request: String) -> Self {
        match key {
            Some(key) => Self { event_id: key.event_id(caller), request: Some(request) },
            None => Self { event_id: Uuid::now_v7(), request: None },
        }
    }

    /// The id of the first event that the request writes.
    #[must_use]
    pub fn event_id(&self) -> Uuid {
        self.event_id
    }

    /// `metadata` of that event, by which a repeat is recognised.
    #[must_use]
    pub fn metadata(&self, metadata: Metadata) -> Metadata {
        Metadata { request: self.request.clone(), ..metadata }
    }

    /// The event that the same request wrote earlier.
    ///
    /// # Errors
    /// `IdempotencyKeyReused` when another request wrote it.
    pub async fn previous_event(&self, log: &EventLog) -> Result<Option<Recorded>, Error> {
        if self.request.is_none() {
            return Ok(None);
        }
        match log.find_derived(self.event_id).await? {
            None => Ok(None),
            Some(event) if self.wrote(&event) => Ok(Some(event)),
            Some(_) => Err(Error::IdempotencyKeyReused),
        }
    }

    fn wrote(&self, event: &Recorded) -> bool {
        let metadata = serde_json::from_str::<Metadata>(&event.metadata);
        metadata.is_ok_and(|metadata| metadata.request == self.request)
    }
}
