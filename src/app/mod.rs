//! What the system does for its users: one use case a file. The HTTP edge and the command line call
//! these types and nothing below them, except `identity`, which knows who is who.

pub mod accounts;
pub mod activate;
pub(crate) mod budget;
pub mod catalogue;
mod error;
mod fair_share;
mod health;
pub mod history;
pub mod idempotency;
pub mod intervene;
mod overload;
pub mod partner_activate;
mod purchase_limits;
mod registration;
pub mod renew;
pub mod search;
mod shared_read;
pub mod statement;
pub mod status;
pub mod status_watch;

pub use accounts::Accounts;
pub use activate::Activations;
pub use catalogue::Catalogue;
pub use error::Error;
pub use health::{Health, HealthChecks};
pub use history::History;
pub use overload::PERIOD as OVERLOAD_PERIOD;
pub use registration::Registration;
pub use search::Search;
pub use statement::Statements;
pub use status::Statuses;

use crate::bus::Bus;
use crate::clock::Clock;
use crate::config::Protection;
use crate::event_log::EventLog;
use crate::identity::Identity;
use crate::notary::Notary;
use crate::processors::Parked;
use crate::processors::callbacks::Callbacks;
use crate::processors::notifications::Mails;
use crate::processors::schedules::ScheduleOverview;
use metrics_exporter_prometheus::PrometheusHandle;
use overload::Overload;
use projections::{Readers, RedisHashes};
use purchase_limits::PurchaseLimits;
use status_watch::StatusWatcher;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The use cases. Shared by an `Arc`.
pub struct App {
    pub activations: Activations,
    pub accounts: Arc<Accounts>,
    pub statements: Statements,
    pub catalogue: Catalogue,
    pub registration: Registration,
    pub statuses: Statuses,
    pub history: History,
    pub search: Search,
    pub callbacks: Callbacks,
    /// Checkpoints and proofs.
    pub notary: Notary,
    /// Messages that could not be handled.
    pub parked: Parked,
    pub mails: Mails,
    /// What runs by the clock.
    pub schedules: ScheduleOverview,
    pub health: HealthChecks,
    /// Who is who, and who may do what.
    pub identity: Arc<Identity>,
    pub clock: Clock,
    /// The one currency of this installation, such as `EUR`.
    pub currency: String,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
}

/// What the use cases work with.
#[derive(Clone)]
pub struct Dependencies {
    pub log: EventLog,
    pub readers: Readers,
    pub hashes: RedisHashes,
    pub bus: Bus,
    pub identity: Arc<Identity>,
    pub callbacks: Callbacks,
    pub notary: Notary,
    pub parked: Parked,
    pub mails: Mails,
    pub schedules: ScheduleOverview,
    pub clock: Clock,
    pub currency: String,
    pub metrics: PrometheusHandle,
}

impl App {
    /// The use cases on `resources`. Requests that wait for a status are answered when `stop` comes.
    #[must_use]
    pub fn new(resources: &Dependencies, protection: &Protection, stop: &CancellationToken) -> Self {
        let Dependencies {
            log,
            readers,
            hashes,
            bus,
            identity,
            callbacks,
            notary,
            parked,
            mails,
            schedules,
            clock,
            currency,
            metrics,
        } = resources.clone();
        let accounts = Arc::new(Accounts::new(log.clone(), readers.clone(), identity.clone()));
        let watcher = StatusWatcher::start(log.clone(), readers.clone(), hashes.clone(), stop);
        Self {
            activations: Activations {
                log: log.clone(),
                readers: readers.clone(),
                identity: identity.clone(),
                callbacks: callbacks.clone(),
                limits: PurchaseLimits::new(protection),
                overload: Overload::new(protection.backlog),
            },
            catalogue: Catalogue::new(log.clone(), readers.clone()),
            registration: Registration::new(accounts.clone(), identity.clone(), clock.clone()),
            accounts,
            statements: Statements::new(log.clone(), readers.clone()),
            statuses: Statuses::new(log.clone(), readers.clone(), hashes.clone(), watcher),
            health: HealthChecks::new(log.clone(), hashes, bus, readers.checkpoint().clone(), notary.clone()),
            search: Search::new(log.clone(), readers.clone(), identity.clone()),
            history: History::new(log, readers, identity.clone()),
            callbacks,
            notary,
            parked,
            mails,
            schedules,
            identity,
            clock,
            currency,
            metrics,
        }
    }
}
