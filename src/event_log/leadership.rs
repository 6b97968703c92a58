//! One active instance a role: the holder of the session's advisory lock works, the others stand by.
//!
//! Losing the lock unnoticed for a moment is harmless: every sink refuses a page that does not start at
//! its own checkpoint.

use crate::telemetry::chain;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How often a standby tries, and how often the holder looks whether its connection lives.
const BEAT: Duration = Duration::from_secs(1);
/// How long one look may take.
const BEAT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long PostgreSQL keeps the lock of a holder that says nothing: its connection may be half open.
const SILENCE: (&str, &str) = ("idle_session_timeout", "10s");
/// Keeps these locks apart from others in the same database.
const LOCK_CLASS: i32 = 730_606;

/// What only one instance does at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Publishes the log to NATS.
    Relay = 1,
    ReadTables = 2,
    Hashes = 3,
    Scheduler = 4,
    /// Queues the callbacks of partners.
    Callbacks = 5,
    /// Lets the Merkle tree grow, and signs it.
    Tree = 6,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Relay => "relay",
            Self::ReadTables => "read_tables",
            Self::Hashes => "hashes",
            Self::Scheduler => "scheduler",
            Self::Callbacks => "callbacks",
            Self::Tree => "tree",
        }
    }
}

/// Leads a role while it can.
pub struct Leadership {
    connect: PgConnectOptions,
    role: Role,
}

impl Leadership {
    #[must_use]
    pub fn new(connect: PgConnectOptions, role: Role) -> Self {
        let name = format!("offers leader {role:?}");
        Self { connect: connect.application_name(&name).options([SILENCE]).disable_statement_logging(), role }
    }

    /// Runs `work` whenever this instance leads, until `stop`. The token given to `work` is cancelled
    /// when the lead is lost or `stop` is.
    pub async fn run<F>(self, stop: CancellationToken, mut work: impl FnMut(CancellationToken) -> F)
    where
        F: Future<Output = ()>,
    {
        let leads = metrics::gauge!("offers_leader", "role" => self.role.name());
        leads.set(0);
        while !stop.is_cancelled() {
            match timeout(BEAT_TIMEOUT, self.try_to_lead()).await {
                Ok(Ok(Some(connection))) => {
                    let term = stop.child_token();
                    tracing::info!(role = ?self.role, "leading");
                    leads.set(1);
                    tokio::join!(work(term.clone()), hold(connection, term.clone()));
                    leads.set(0);
                }
                Ok(Ok(None)) => {}
                Ok(Err(cause)) => {
                    tracing::debug!(role = ?self.role, error = %chain(&cause), "could not ask for the lead");
                }
                Err(_) => tracing::debug!(role = ?self.role, "PostgreSQL did not answer in time"),
            }
            stop.run_until_cancelled(sleep(BEAT)).await;
        }
    }

    async fn try_to_lead(&self) -> Result<Option<PgConnection>, sqlx::Error> {
        let mut connection = PgConnection::connect_with(&self.connect).await?;
        let leads: bool = sqlx::query_scalar("select pg_try_advisory_lock($1, $2)")
            .bind(LOCK_CLASS)
            .bind(self.role as i32)
            .fetch_one(&mut connection)
            .await?;
        Ok(leads.then_some(connection))
    }
}

/// Keeps the connection, and with it the lock, until `term` ends; ends `term` when it is lost.
async fn hold(mut connection: PgConnection, term: CancellationToken) {
    while term.run_until_cancelled(sleep(BEAT)).await.is_some() {
        if !matches!(timeout(BEAT_TIMEOUT, connection.ping()).await, Ok(Ok(()))) {
            tracing::warn!("lost the lead");
            term.cancel();
        }
    }
    let _ = timeout(BEAT_TIMEOUT, connection.close()).await; // gives the lock back at once
}
