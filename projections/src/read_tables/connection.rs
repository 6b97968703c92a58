//! The one connection on which read tables are written: without a pool, which asks before and after each use whether it
//! still lives.

use sqlx::postgres::{PgArguments, PgConnectOptions, PgRow};
use sqlx::query::Query;
use sqlx::{Connection as _, PgConnection, Postgres};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an answer may take. Longer than the connection's `statement_timeout`, so that the server speaks first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(25);
/// A connection that has not been used for so long shows first that it lives.
const FRESH: Duration = Duration::from_secs(1);
/// How long it may take to show that.
const PING_TIMEOUT: Duration = Duration::from_secs(1);

/// A statement and what is bound to it.
pub(super) type Statement<'q> = Query<'q, Postgres, PgArguments>;

/// Connects when first needed, and again after any error. Cheap to clone; clones take turns.
#[derive(Clone)]
pub(super) struct Connection(Arc<Inner>);

struct Inner {
    connect: PgConnectOptions,
    idle: Mutex<Option<Idle>>,
}

struct Idle {
    connection: PgConnection,
    since: Instant,
}

impl Connection {
    pub(super) fn new(connect: PgConnectOptions) -> Self {
        Self(Arc::new(Inner { connect, idle: Mutex::new(None) }))
    }

    /// The number of rows that `statement` affects.
    pub(super) async fn execute(&self, statement: Statement<'_>) -> Result<u64, sqlx::Error> {
        let (mut place, mut connection) = self.take().await?;
        let done = within(ANSWER_TIMEOUT, statement.execute(&mut connection)).await?;
        *place = Some(Idle { connection, since: Instant::now() });
        Ok(done.rows_affected())
    }

    /// The first row that `statement` finds.
    pub(super) async fn row(&self, statement: Statement<'_>) -> Result<Option<PgRow>, sqlx::Error> {
        let (mut place, mut connection) = self.take().await?;
        let found = within(ANSWER_TIMEOUT, statement.fetch_optional(&mut connection)).await?;
        *place = Some(Idle { connection, since: Instant::now() });
        Ok(found)
    }

    /// The connection, and the place to which it returns when it has answered. One that has not is closed.
    async fn take(&self) -> Result<(MutexGuard<'_, Option<Idle>>, PgConnection), sqlx::Error> {
        let mut place = self.0.idle.lock().await;
        if let Some(Idle { mut connection, since }) = place.take()
            && (since.elapsed() < FRESH || within(PING_TIMEOUT, connection.ping()).await.is_ok())
        {
            return Ok((place, connection));
        }
        let connection = within(CONNECT_TIMEOUT, PgConnection::connect_with(&self.0.connect)).await?;
        Ok((place, connection))
    }
}

async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let silent = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "PostgreSQL does not answer").into());
    timeout(limit, answer).await.unwrap_or_else(silent)
}

impl fmt::Debug for Connection {
    /// Without the options, which have a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").finish_non_exhaustive()
    }
}
