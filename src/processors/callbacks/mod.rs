//! Callbacks to partners when a transaction of theirs is final (Standard Webhooks).
//!
//! - `enqueuer` adds one durable delivery for each final event, as a part of the announcer;
//! - `sender` claims deliveries that are due and attempts them; any number of senders may run. `attempt` is one
//!   attempt, `post` its HTTP request, `schedule` the delays;
//! - `address` and `resolver` keep the requests out of our own network;
//! - `deliveries` serves operators and partners: list, resend, ping.
//!
//! At least once: a receiver deduplicates by `webhook-id`. In order within a transaction. A slow or dead
//! endpoint never delays another.
//!
//! | request | call | refusals |
//! | --- | --- | --- |
//! | POST /partner/activate/ with `callback_url` | [`CallbackUrl::same_origin`](crate::identity::CallbackUrl::same_origin) with the registered one | 400 `callback_url_not_allowed` |
//! | GET /partner/validate/… | [`ValidateAnswer`] | |
//! | POST /partner/callbacks/test/ | [`Callbacks::enqueue_ping`], 202 | `NoCallbackUrl`, `EndpointDisabled` |
//! | GET /admin/callbacks/?status= | [`Callbacks::list`] | |
//! | GET /partner/callbacks/?status=&transaction_id= | [`Callbacks::list_for_partner`] | |
//! | POST /partner/callbacks/{id}/resend/ | [`Callbacks::resend_for_partner`], 202 | `DeliveryNotFound`: 404 |
//! | POST /admin/callbacks/{id}/resend/ | [`Callbacks::resend`], 202 | `DeliveryNotFound`: 404 |
//! | POST, PATCH /admin/partners/ | [`CallbackUrl`](crate::identity::CallbackUrl) | 400 |
//!
//! The deliveries of a disabled partner are kept as pending and sent when it is enabled again.
//!
//! **Architecture Invariant:** no connection and no transaction of the database is held during a call to
//! a receiver.

mod address;
mod attempt;
mod body;
mod claim;
mod delays;
mod deliveries;
mod enqueuer;
mod own_urls;
mod post;
mod resolver;
mod sender;
mod signature;
mod target;
mod upkeep;

pub use body::ValidateAnswer;
pub use deliveries::{Attempt, Delivery, Filter, Status};
pub use enqueuer::Enqueuer;
pub use post::ClientError;
pub use sender::Sender;
pub use signature::signatures;

use crate::clock::Clock;
use crate::identity::{self, Identity};
use attempt::AttemptContext;
use post::Poster;
use projections::RedisHashes;
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// The callback settings of an installation.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Allows private, loopback and other special addresses (`OFFERS_CALLBACK_ALLOW_PRIVATE`), for receivers on
    /// the same machine or network. Then a partner can reach everything that this service can.
    pub allow_private: bool,
    /// From resolving the name to the last byte of the answer.
    pub timeout: Duration,
    /// The part of `timeout` for connecting.
    pub connect_timeout: Duration,
    /// Concurrent attempts of an instance. Too few: hanging endpoints use them up; too many: open connections
    /// cost memory on both sides.
    pub in_flight: usize,
    /// Concurrent attempts to one endpoint.
    pub per_endpoint: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            allow_private: false,
            timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            in_flight: 128,
            per_endpoint: 4,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("no such delivery")]
    DeliveryNotFound,
    #[error("the partner has no callback URL")]
    NoCallbackUrl,
    #[error("the callback URL was disabled when it answered 410; register it again")]
    EndpointDisabled,
    #[error(transparent)]
    Identity(#[from] identity::Error),
    #[error("cannot read or write the table of callbacks")]
    Unavailable(#[from] sqlx::Error),
}

/// Callbacks of one process. Cheap to clone.
#[derive(Clone)]
pub struct Callbacks {
    pool: PgPool,
    identity: Arc<Identity>,
    clock: Clock,
    due: Arc<Notify>,
}

impl Callbacks {
    #[must_use]
    pub fn new(pool: PgPool, identity: Arc<Identity>, clock: Clock) -> Self {
        Self { pool, identity, clock, due: Arc::new(Notify::new()) }
    }

    /// A part of the announcer.
    #[must_use]
    pub fn enqueuer(&self, hashes: RedisHashes) -> Enqueuer {
        let Self { pool, identity, clock, due } = self.clone();
        Enqueuer { pool, identity, hashes, clock, due }
    }

    pub fn sender(&self, settings: &Settings) -> Result<Sender, ClientError> {
        let Self { pool, identity, clock, due } = self.clone();
        let poster = Poster::new(settings)?;
        Ok(Sender::new(AttemptContext { pool, identity, clock, poster }, settings.clone(), due))
    }
}
