//! Callbacks: partners are told when a purchase of theirs is final (Standard Webhooks).
//!
//! - `enqueuer` follows the log and adds one durable delivery for each final event; one active instance;
//! - `sender` claims what is due and tries it; any number of them. `attempt` is one try, `post` its HTTP,
//!   `schedule` when the next one is;
//! - `address` and `resolver` keep the tries out of our own network;
//! - `deliveries` is what operators and partners ask: list, resend, ping.
//!
//! At least once: a receiver deduplicates on `webhook-id`. In order within a purchase. A slow or dead
//! endpoint never delays another.
//!
//! | request | call | refusals |
//! | --- | --- | --- |
//! | POST /partner/activate/ with `callback_url` | [`same_origin`] with the registered one | 400 `callback_url_not_allowed` |
//! | GET /partner/validate/… | [`ValidateAnswer`] | |
//! | POST /partner/callbacks/test/ | [`Callbacks::enqueue_ping`], 202 | `NoCallbackUrl`, `EndpointDisabled` |
//! | GET /admin/callbacks/?status= | [`Callbacks::list`] | |
//! | POST /admin/callbacks/{id}/resend/ | [`Callbacks::resend`], 202 | `DeliveryNotFound`: 404 |
//! | POST, PATCH /admin/partners/ | [`valid_callback_url`] | 400 |
//!
//! **Architecture Invariant:** no connection and no transaction of the database is held during a call to
//! a receiver.

mod address;
mod attempt;
mod body;
mod claim;
mod deliveries;
mod enqueuer;
mod post;
mod resolver;
mod schedule;
mod sender;
mod signature;
mod upkeep;
mod url;

pub use body::ValidateAnswer;
pub use deliveries::{Delivery, Status, UnknownStatus};
pub use enqueuer::Enqueuer;
pub use post::ClientError;
pub use sender::Sender;
pub use url::{same_origin, valid_callback_url};

use crate::clock::Clock;
use crate::identity::{self, Identity};
use attempt::Tools;
use post::Poster;
use projections::{Readers, RedisHashes};
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// What an installation decides about callbacks.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Calls private, loopback and other special addresses too (`OFFERS_CALLBACK_ALLOW_PRIVATE`): for
    /// receivers on the same machine or network. Then whoever registers a URL can reach everything that
    /// this service can.
    pub allow_private: bool,
    /// From resolving the name to the answer's last byte.
    pub timeout: Duration,
    /// Of which reaching the receiver may take this much.
    pub connect_timeout: Duration,
    /// Tries under way at a time, an instance. Too few: hanging endpoints take the room; too many: open
    /// connections cost memory on both sides.
    pub in_flight: usize,
    /// Tries under way at a time, an endpoint.
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

/// Why something about callbacks was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No delivery has this id.
    #[error("no such delivery")]
    DeliveryNotFound,
    /// The partner has registered no URL.
    #[error("the partner has no callback URL")]
    NoCallbackUrl,
    /// The endpoint has answered 410: register a URL to open it again.
    #[error("the callback URL was disabled when it answered 410; register it again")]
    EndpointDisabled,
    /// About the partner.
    #[error(transparent)]
    Identity(#[from] identity::Error),
    /// The database gave no answer.
    #[error("the table of callbacks is not available")]
    Unavailable(#[from] sqlx::Error),
}

/// The room's door. Cheap to clone; one for each process.
#[derive(Clone)]
pub struct Callbacks {
    pool: PgPool,
    identity: Arc<Identity>,
    clock: Clock,
    /// Wakes this process's sender.
    due: Arc<Notify>,
}

impl Callbacks {
    /// Callbacks kept in the database behind `pool`.
    #[must_use]
    pub fn new(pool: PgPool, identity: Arc<Identity>, clock: Clock) -> Self {
        Self { pool, identity, clock, due: Arc::new(Notify::new()) }
    }

    /// The follower of the log. To be fed on one instance at a time (`event_log::Role::Callbacks`);
    /// two would refuse each other's pages.
    #[must_use]
    pub fn enqueuer(&self, readers: Readers, hashes: RedisHashes) -> Enqueuer {
        let Self { pool, identity, clock, due } = self.clone();
        Enqueuer { pool, identity, readers, hashes, clock, due }
    }

    /// A sender; one for each process that sends.
    ///
    /// # Errors
    /// The HTTP client cannot be set up.
    pub fn sender(&self, settings: &Settings) -> Result<Sender, ClientError> {
        let Self { pool, identity, clock, due } = self.clone();
        let poster = Poster::new(settings)?;
        Ok(Sender::new(Tools { pool, identity, clock, poster }, settings.clone(), due))
    }
}
