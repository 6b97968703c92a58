//! Builds new read tables next to the live ones, then switches to them.
//!
//! The same DDL and the same writer, in another schema. Readers notice nothing: the switch renames two
//! schemas in one transaction, at a moment when the new ones have come as far as the live ones.

use super::{LIVE, NEXT, ReadTables};
use crate::Error;
use crate::checkpoint::{ReadCheckpoint, missing_tables};
use domain::Recorded;
use sqlx::postgres::PgConnectOptions;
use sqlx::{Connection, PgConnection};
use std::time::Duration;

/// How long the switch waits for readers of the live tables before it lets them go on, in milliseconds:
/// whoever comes after it waits with it.
const SWITCH_LOCK_TIMEOUT_MS: u32 = 2_000;

/// PostgreSQL's code for a lock that was not given in time.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// A rebuild that is under way.
#[derive(Debug)]
pub struct Rebuild {
    owner: PgConnectOptions,
    next: ReadTables,
}

impl Rebuild {
    /// Makes the empty tables; `owner` connects as the role that owns the database. A rebuild that was
    /// left unfinished is thrown away.
    pub async fn begin(owner: PgConnectOptions) -> Result<Self, Error> {
        let mut sql = PgConnection::connect_with(&owner).await?;
        sqlx::query("select create_next_read_tables()").execute(&mut sql).await?;
        sql.close().await?;
        let unread = ReadCheckpoint::new(sqlx::PgPool::connect_lazy_with(owner.clone()));
        let next = ReadTables::of(NEXT, &owner, unread);
        Ok(Self { owner, next })
    }

    /// The position of the last event in the new tables.
    pub async fn checkpoint(&self) -> Result<i64, Error> {
        self.next.checkpoint().await
    }

    /// Takes the next page into the new tables.
    ///
    /// # Errors
    /// As `ReadTables::apply`.
    pub async fn apply(&self, events: &[Recorded]) -> Result<(), Error> {
        self.next.apply(events).await
    }

    /// Stops all writing to the live tables until the hold is switched or dropped.
    /// `None` if a reader holds them for longer than the switch may wait: try again.
    pub async fn hold(&self) -> Result<Option<Held>, Error> {
        let mut sql = PgConnection::connect_with(&self.owner).await?;
        let begin = format!(
            "begin; set local lock_timeout = {SWITCH_LOCK_TIMEOUT_MS}; \
             lock table {LIVE}.checkpoint in access exclusive mode"
        );
        match sqlx::raw_sql(&begin).execute(&mut sql).await {
            Err(sqlx::Error::Database(cause)) if cause.code().as_deref() == Some(LOCK_NOT_AVAILABLE) => {
                return Ok(None);
            }
            Err(cause) => match missing_tables(cause) {
                Error::Lost(_) => return Ok(Some(Held { position: 0, sql, are_live: false })), // nobody writes to them
                cause => return Err(cause),
            },
            Ok(_) => {}
        }
        let select = format!("select position from {LIVE}.checkpoint");
        let position = sqlx::query_scalar(&select).fetch_optional(&mut sql).await?;
        Ok(Some(Held { position: position.unwrap_or(0), sql, are_live: true }))
    }
}

/// The live tables, held.
#[derive(Debug)]
pub struct Held {
    /// Where they stand: the new ones must come at least as far.
    pub position: i64,
    sql: PgConnection,
    /// False if they are put aside or have lost their checkpoint.
    are_live: bool,
}

impl Held {
    /// Puts the new tables in the place of the live ones, and removes those; if they are read for longer, the service
    /// removes them.
    ///
    /// # Errors
    /// `Behind` when the new tables have not come as far as the live ones; `Database`.
    pub async fn switch(mut self) -> Result<(), Error> {
        if !self.are_live {
            sqlx::raw_sql("rollback").execute(&mut self.sql).await?; // of the lock that was refused
        }
        let select = format!("select position from {NEXT}.checkpoint");
        let next: i64 = sqlx::query_scalar(&select).fetch_one(&mut self.sql).await?;
        if next < self.position {
            return Err(Error::Behind { position: self.position, waited: Duration::ZERO });
        }
        if !self.are_live {
            sqlx::raw_sql("begin").execute(&mut self.sql).await?;
        }
        let switch = format!(
            "select put_read_tables_aside('{LIVE}'); alter schema {NEXT} rename to {LIVE}; commit; \
             select drop_read_tables_aside()"
        );
        sqlx::raw_sql(&switch).execute(&mut self.sql).await?;
        self.sql.close().await?;
        Ok(())
    }
}
