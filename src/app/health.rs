//! Whether the servers that the service depends on answer.

use crate::bus::{Bus, State};
use crate::event_log::EventLog;
use crate::notary::Notary;
use projections::{ReadCheckpoint, RedisHashes};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// How long a server may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// How old an answer may be.
const MAX_AGE: Duration = Duration::from_secs(1);

pub struct HealthChecks {
    log: EventLog,
    hashes: RedisHashes,
    bus: Bus,
    read_tables: ReadCheckpoint,
    notary: Notary,
    latest: Mutex<Option<(Instant, Arc<Health>)>>,
}

/// How each server is; an error says why.
pub struct Health {
    /// Without it nothing is accepted and little is answered.
    pub postgresql: Result<(), String>,
    /// Without it statuses are read from PostgreSQL.
    pub redis: Result<(), String>,
    /// Without it accepted work waits.
    pub nats: Result<(), String>,
    /// What is rebuilt, parts of this process that start again and again, and why checkpoints are not signed. Clients are served what
    /// does not depend on it, from older data.
    pub impaired: Vec<String>,
    /// What works, but should be changed.
    pub notes: Vec<String>,
}

impl HealthChecks {
    #[must_use]
    pub fn new(
        log: EventLog,
        hashes: RedisHashes,
        bus: Bus,
        read_tables: ReadCheckpoint,
        notary: Notary,
    ) -> Self {
        Self { log, hashes, bus, read_tables, notary, latest: Mutex::default() }
    }

    /// How the servers are, or were at most a second ago: however many ask, the servers are asked once.
    pub async fn latest(&self) -> Arc<Health> {
        let mut latest = self.latest.lock().await;
        if let Some((_, health)) = latest.as_ref().filter(|(asked, _)| asked.elapsed() < MAX_AGE) {
            return health.clone();
        }
        let asked = Instant::now();
        let health = Arc::new(self.run().await);
        *latest = Some((asked, health.clone()));
        health
    }

    pub async fn run(&self) -> Health {
        let (postgresql, redis, read_tables) = tokio::join!(
            timeout(ANSWER_TIMEOUT, self.log.head()),
            timeout(ANSWER_TIMEOUT, self.hashes.ping()),
            timeout(ANSWER_TIMEOUT, self.read_tables.read())
        );
        let postgresql = answers("PostgreSQL", matches!(postgresql, Ok(Ok(_))));
        let written = self.log.write_failure().map_or(Ok(()), |why| Err(format!("cannot write: {why}")));
        let restarting = self.log.restarting_sinks().into_iter();
        let restarting = restarting.map(|(sink, why)| format!("{sink} keeps restarting: {why}"));
        let rebuilt = "the read tables are rebuilt; lists are refused until they are whole";
        let is_lost = matches!(read_tables, Ok(Err(projections::Error::Lost(_))));
        Health {
            postgresql: postgresql.and(written),
            impaired: is_lost
                .then(|| rebuilt.to_owned())
                .into_iter()
                .chain(restarting)
                .chain(self.notary.refusal())
                .collect(),
            redis: answers("Redis", matches!(redis, Ok(Ok(())))),
            nats: match self.bus.state() {
                State::Connected => Ok(()),
                State::Degraded(reason) => Err(reason),
            },
            notes: self.bus.unfit_for_analysts().into_iter().collect(),
        }
    }
}

fn answers(name: &str, it_does: bool) -> Result<(), String> {
    if it_does { Ok(()) } else { Err(format!("{name} does not answer")) }
}
