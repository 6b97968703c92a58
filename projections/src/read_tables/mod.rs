//! The writer of the read tables: a page of events becomes a few statements in one transaction, which
//! also moves the checkpoint.

mod rebuild;

pub use rebuild::{Held, Rebuild};

use crate::checkpoint::ReadCheckpoint;
use crate::page::Page;
use crate::{Error, offer, statement, subscription, transaction};
use domain::Recorded;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{PgConnection, PgPool, Row};
use std::time::Duration;

/// The schema that is read.
pub(crate) const LIVE: &str = "read";
/// The schema in which a rebuild is made.
pub(crate) const NEXT: &str = "read_next";

/// How long the projector waits for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Settings of the writing connection; times in milliseconds. Planning is pinned to the indexes: a plan
/// that is cached while the tables are small would read all of them when they no longer are.
const SETTINGS: [(&str, &str); 8] = [
    ("application_name", "offers-projector"),
    ("statement_timeout", "30000"),
    ("lock_timeout", "10000"),
    ("idle_in_transaction_session_timeout", "15000"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

/// One set of read tables, the live one or the one that will take its place. Any number of processes
/// may write to it: the checkpoint lets one of them win each page.
#[derive(Clone, Debug)]
pub struct ReadTables {
    pool: PgPool,
    checkpoint: ReadCheckpoint,
}

impl ReadTables {
    /// The live tables, written on a connection of its own, made like `connect` when first needed.
    /// `checkpoint` is the process's own, so that its waiters hear of every page at once.
    #[must_use]
    pub fn live(connect: &PgConnectOptions, checkpoint: ReadCheckpoint) -> Self {
        Self::of(LIVE, connect, checkpoint)
    }

    fn of(schema: &str, connect: &PgConnectOptions, checkpoint: ReadCheckpoint) -> Self {
        let connect = connect.clone().options(SETTINGS).options([("search_path", schema)]);
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT_TIMEOUT)
            .connect_lazy_with(connect);
        Self { pool, checkpoint }
    }

    /// The position of the last event that is in the tables.
    pub async fn checkpoint(&self) -> Result<i64, Error> {
        let position = read_checkpoint(&mut *self.pool.acquire().await?).await?;
        self.checkpoint.reached(position);
        Ok(position)
    }

    /// Takes the page that starts right after the checkpoint, whole or not at all.
    ///
    /// # Errors
    /// `Overtaken` when the checkpoint is elsewhere: ask for it again. `Database` when nothing is known
    /// of the outcome: ask as well. `Unreadable` and `Broken` when no try will ever succeed.
    pub async fn apply(&self, events: &[Recorded]) -> Result<(), Error> {
        let Some(page) = Page::fold(events)? else { return Ok(()) };
        let last = page.last;
        let mut sql = self.pool.begin().await?;
        write(&mut sql, page).await?;
        sql.commit().await?;
        self.checkpoint.reached(last);
        Ok(())
    }
}

async fn write(sql: &mut PgConnection, page: Page) -> Result<(), Error> {
    take_turn(sql, page.first - 1, page.last).await?;
    transaction::write_unfinished(sql, &page.transactions).await?;
    transaction::write(sql, page.transactions).await?;
    subscription::write(sql, &page.subscriptions).await?;
    offer::write(sql, &page.offers).await?;
    statement::write(sql, page.entries, &page.unpriced).await
}

/// Moves the checkpoint. First of all, because its row is also the lock between projectors.
async fn take_turn(sql: &mut PgConnection, from: i64, to: i64) -> Result<(), Error> {
    let moved = sqlx::query("update checkpoint set position = $2 where position = $1")
        .bind(from)
        .bind(to)
        .execute(sql)
        .await?
        .rows_affected();
    if moved == 1 { Ok(()) } else { Err(Error::Overtaken { expected: from }) }
}

async fn read_checkpoint(sql: &mut PgConnection) -> Result<i64, Error> {
    Ok(sqlx::query("select position from checkpoint").fetch_one(sql).await?.try_get("position")?)
}
