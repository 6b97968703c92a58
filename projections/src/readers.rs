//! What all readers of the read tables share.

use crate::checkpoint::ReadCheckpoint;
use chrono::{DateTime, Utc};
use domain::{Money, Timestamp};
use rust_decimal::Decimal;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions, PgRow};
use sqlx::{PgPool, Row};
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// Connections of a command-line tool: a snapshot holds one.
const TOOL_CONNECTIONS: u32 = 2;

/// The questions that the read tables answer, always on the live ones (schema `read`). Cheap to clone.
#[derive(Clone, Debug)]
pub struct Readers {
    pool: PgPool,
    checkpoint: ReadCheckpoint,
}

impl Readers {
    /// Reads through `pool`. `checkpoint` is the process's own (one for all its readers and writers).
    #[must_use]
    pub fn new(pool: PgPool, checkpoint: ReadCheckpoint) -> Self {
        Self { pool, checkpoint }
    }

    /// Reads on few connections, made like `connect`, for a command-line tool.
    #[must_use]
    pub fn at(connect: PgConnectOptions) -> Self {
        let pool = PgPoolOptions::new().max_connections(TOOL_CONNECTIONS).connect_lazy_with(connect);
        Self::new(pool.clone(), ReadCheckpoint::new(pool))
    }

    /// How far the read tables are, to wait for.
    #[must_use]
    pub fn checkpoint(&self) -> &ReadCheckpoint {
        &self.checkpoint
    }

    pub(crate) fn pool(&self) -> &PgPool {
        &self.pool
    }
}

/// How long PostgreSQL may take to answer a question. Longer than its `statement_timeout`, so that it speaks first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Waits for `answer` no longer than PostgreSQL may work on it: then the connection has fallen silent.
pub(crate) async fn answered<T>(
    answer: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, sqlx::Error> {
    let silent = |_| Err(io::Error::new(io::ErrorKind::TimedOut, "PostgreSQL does not answer").into());
    timeout(ANSWER_TIMEOUT, answer).await.unwrap_or_else(silent)
}

/// A column of rows, for `unnest`.
pub(crate) trait Column {
    type Row;
    fn column<'a, C>(&'a self, value: impl Fn(&'a Self::Row) -> C) -> Vec<C>
    where
        Self::Row: 'a;
}

impl<T> Column for [T] {
    type Row = T;
    fn column<'a, C>(&'a self, value: impl Fn(&'a T) -> C) -> Vec<C>
    where
        T: 'a,
    {
        self.iter().map(value).collect()
    }
}

pub(crate) fn moment(row: &PgRow, name: &str) -> Result<Timestamp, sqlx::Error> {
    row.try_get::<DateTime<Utc>, _>(name).map(Timestamp::new)
}

pub(crate) fn money(row: &PgRow, name: &str) -> Result<Money, sqlx::Error> {
    let decimal: Decimal = row.try_get(name)?;
    Money::try_from(decimal).map_err(|cause| sqlx::Error::Decode(Box::new(cause)))
}
