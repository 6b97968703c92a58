//! Puts the parts together.

use crate::clock::Clock;
use crate::event_log::EventLog;
use crate::identity::Identity;
use metrics_exporter_prometheus::PrometheusHandle;
use projections::{Readers, RedisHashes};

/// What the HTTP edge and the command line work with. Shared by an `Arc`.
pub struct App {
    /// Commands become events here.
    pub log: EventLog,
    /// Who is who, and who may do what.
    pub identity: Identity,
    /// The questions that the read tables answer.
    pub readers: Readers,
    /// The status of transactions, quickly.
    pub hashes: RedisHashes,
    /// The time.
    pub clock: Clock,
    /// The one currency of this installation, such as `EUR`.
    pub currency: String,
    /// What `/metrics` shows.
    pub metrics: PrometheusHandle,
}
