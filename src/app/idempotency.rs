//! Requests that may come twice: recognised by the id of the event that the first one made, for ever
//! and without a table of keys.

use crate::event_log::{EventLog, LogError};
use domain::ids::RepeatKey;
use domain::{Metadata, Recorded};
use uuid::Uuid;

/// What makes a request recognisable when it comes again.
#[derive(Clone, Debug)]
pub struct Repeatable {
    event_id: Uuid,
    /// What the client sent; absent when it gave no key and so cannot repeat itself.
    request: Option<String>,
}

/// Why a request is not answered as a repeat.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller used the key before, for something else.
    #[error("this key belongs to another request")]
    KeyReused,
    /// The log could not look.
    #[error(transparent)]
    Log(#[from] LogError),
}

impl Repeatable {
    /// `request` is what the client sent, parsed and rendered in one form, with the path and without
    /// what was looked up. Keys of different callers are independent.
    #[must_use]
    pub fn new(caller: Uuid, key: Option<RepeatKey>, request: String) -> Self {
        match key {
            Some(key) => Self { event_id: key.event_id(caller), request: Some(request) },
            None => Self { event_id: Uuid::now_v7(), request: None },
        }
    }

    /// The id of the first event that the request makes.
    #[must_use]
    pub fn event_id(&self) -> Uuid {
        self.event_id
    }

    /// `metadata` of that event, by which a repeat is recognised.
    #[must_use]
    pub fn metadata(&self, metadata: Metadata) -> Metadata {
        Metadata { request: self.request.clone(), ..metadata }
    }

    /// The event that the same request made earlier.
    ///
    /// # Errors
    /// `KeyReused` when another request made it.
    pub async fn answered_before(&self, log: &EventLog) -> Result<Option<Recorded>, Error> {
        if self.request.is_none() {
            return Ok(None);
        }
        match log.find(self.event_id).await? {
            None => Ok(None),
            Some(event) if self.made(&event) => Ok(Some(event)),
            Some(_) => Err(Error::KeyReused),
        }
    }

    fn made(&self, event: &Recorded) -> bool {
        let metadata = serde_json::from_str::<Metadata>(&event.metadata);
        metadata.is_ok_and(|metadata| metadata.request == self.request)
    }
}
