//! Builds new read tables next to the live ones, then switches to them or compares the two.
//!
//! The same DDL and the same writer, in another schema. Readers notice nothing: the switch renames two
//! schemas in one transaction, at a moment when the new ones have come as far as the live ones.

use super::difference::{self, Difference};
use super::{LIVE, NEXT, ReadTables};
use crate::Error;
use crate::checkpoint::{ReadCheckpoint, missing_tables};
use domain::{History, Recorded};
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
    /// Makes empty new tables; `owner` connects as the role that owns the database. What an interrupted rebuild has
    /// left is thrown away.
    pub async fn begin(owner: PgConnectOptions) -> Result<Self, Error> {
        let rebuild = Self::of(owner);
        let mut sql = PgConnection::connect_with(&rebuild.owner).await?;
        rebuild.create(&mut sql).await?;
        Ok(rebuild)
    }

    /// As `begin`, but goes on with the tables of an interrupted rebuild if it was one of `history`, by this program.
    pub async fn resume(owner: PgConnectOptions, history: &dyn History) -> Result<Self, Error> {
        let rebuild = Self::of(owner);
        let mut sql = PgConnection::connect_with(&rebuild.owner).await?;
        let kept = sqlx::query_scalar("select obj_description(to_regnamespace($1), 'pg_namespace')");
        let kept: Option<String> = kept.bind(NEXT).fetch_one(&mut sql).await?;
        if kept != Some(maker(&mut sql).await?) || rebuild.next.whole(history).await.is_err() {
            rebuild.create(&mut sql).await?;
        }
        Ok(rebuild)
    }

    fn of(owner: PgConnectOptions) -> Self {
        let unread = ReadCheckpoint::new(sqlx::PgPool::connect_lazy_with(owner.clone()));
        // A crash of the server costs the last pages of a rebuild; the switch is waited for.
        let quick = owner.clone().options([("synchronous_commit", "off")]);
        Self { next: ReadTables::of(NEXT, &quick, unread), owner }
    }

    async fn create(&self, sql: &mut PgConnection) -> Result<(), Error> {
        let maker = maker(sql).await?;
        let create = format!("select create_next_read_tables(); comment on schema {NEXT} is '{maker}'");
        sqlx::raw_sql(&create).execute(sql).await?;
        Ok(())
    }

    /// The position of the last event in the new tables.
    pub async fn checkpoint(&self) -> Result<i64, Error> {
        self.next.checkpoint().await
    }

    /// The position of the last event in the live tables; 0 if they are put aside.
    pub async fn live_checkpoint(&self) -> Result<i64, Error> {
        match ReadTables::of(LIVE, &self.owner, self.next.checkpoint.clone()).stored().await {
            Ok(at) => Ok(at.position),
            Err(Error::Lost(_)) => Ok(0),
            Err(cause) => Err(cause),
        }
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

/// Which program makes tables, on which schema: only it can go on with them.
async fn maker(sql: &mut PgConnection) -> Result<String, Error> {
    let query =
        "select concat($1::text, ' on migration ', max(version)) from public._sqlx_migrations where success";
    let program = concat!("offers ", env!("CARGO_PKG_VERSION"));
    Ok(sqlx::query_scalar(query).bind(program).fetch_one(sql).await?)
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

    /// Lets the live tables go on, compares both as they were now, and drops the new ones. `owner` is as for
    /// `Rebuild::begin`.
    ///
    /// # Errors
    /// `Behind` when the new tables are not exactly where the live ones are; `Lost` when there are no live ones.
    pub async fn compare(mut self, rebuild: Rebuild) -> Result<Vec<Difference>, Error> {
        if !self.are_live {
            return Err(Error::Lost("there are no live tables to compare with"));
        }
        let mut sql = PgConnection::connect_with(&rebuild.owner).await?;
        sqlx::raw_sql("begin transaction isolation level repeatable read, read only")
            .execute(&mut sql)
            .await?;
        let select = format!("select position from {NEXT}.checkpoint"); // takes the snapshot
        let next: i64 = sqlx::query_scalar(&select).fetch_one(&mut sql).await?;
        sqlx::raw_sql("rollback").execute(&mut self.sql).await?; // lets the live tables go
        if next != self.position {
            return Err(Error::Behind { position: self.position, waited: Duration::ZERO });
        }
        let differences = difference::between(&mut sql, LIVE, NEXT).await?;
        sqlx::raw_sql("rollback").execute(&mut sql).await?;
        let drop = format!("select put_read_tables_aside('{NEXT}'); select drop_read_tables_aside()");
        sqlx::raw_sql(&drop).execute(&mut sql).await?;
        Ok(differences)
    }
}
