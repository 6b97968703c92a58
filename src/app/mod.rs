//! What the system does for somebody: one use case a file. `App` holds what they work with.

pub mod accounts;
pub mod activate;
pub mod catalogue;
pub mod idempotency;
pub mod partner_activate;
pub mod registration;
pub mod renew;
pub mod status;
pub mod status_watch;

use crate::bus::{Bus, State};
use crate::clock::Clock;
use crate::event_log::EventLog;
use crate::identity::Identity;
use crate::processors::Parked;
use crate::processors::callbacks::Callbacks;
use metrics_exporter_prometheus::PrometheusHandle;
use projections::{Readers, RedisHashes};
use status_watch::WaitingRoom;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// What the HTTP edge and the command line work with. Shared by an `Arc`.
pub struct App {
    /// Commands become events here.
    pub log: EventLog,
    /// Who is who, and who may do what.
    pub identity: Arc<Identity>,
    /// What partners are told.
    pub callbacks: Callbacks,
    /// What could not be handled.
    pub parked: Parked,
    /// The questions that the read tables answer.
    pub readers: Readers,
    /// The status of transactions, quickly.
    pub hashes: RedisHashes,
    /// Where requests wait for a status to change.
    pub waiting_room: WaitingRoom,
    /// Where the log is published.
    pub bus: Bus,
    /// The time.
    pub clock: Clock,
    /// The one currency of this installation, such as `EUR`.
    pub currency: String,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
}

/// How long a part may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// How the parts are that run outside of this process; what fails says why.
pub struct Health {
    /// Without it nothing is accepted and little is answered.
    pub postgresql: Result<(), String>,
    /// Without it statuses are read from PostgreSQL.
    pub redis: Result<(), String>,
    /// Without it accepted work waits.
    pub nats: Result<(), String>,
}

impl App {
    /// Asks every part whether it is there.
    pub async fn health(&self) -> Health {
        let (postgresql, redis) =
            tokio::join!(timeout(PATIENCE, self.log.head()), timeout(PATIENCE, self.hashes.ping()));
        Health {
            postgresql: answered("PostgreSQL", matches!(postgresql, Ok(Ok(_)))),
            redis: answered("Redis", matches!(redis, Ok(Ok(())))),
            nats: match self.bus.state() {
                State::Connected => Ok(()),
                State::Degraded(reason) => Err(reason),
            },
        }
    }
}

fn answered(name: &str, did: bool) -> Result<(), String> {
    if did { Ok(()) } else { Err(format!("{name} does not answer")) }
}
