//! The writer of the read tables: a page of events becomes a few statements in one transaction, which
//! also moves the checkpoint.

mod difference;
mod projector;
mod rebuild;

pub use difference::Difference;
pub use projector::TableProjector;
pub use rebuild::{Held, Rebuild};

use crate::checkpoint::{self, ReadCheckpoint};
use crate::history::contains;
use crate::page::Page;
use crate::{Error, offer, statement, subscription, transaction};
use domain::{Checkpoint, History, Recorded};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{Connection, PgConnection, PgPool};
use std::io;
use std::time::Duration;
use tokio::time::timeout;

/// The schema that is read.
pub(crate) const LIVE: &str = "read";
/// The schema in which a rebuild is made.
pub(crate) const NEXT: &str = "read_next";
/// What is in either.
const TABLES: [&str; 6] =
    ["checkpoint", "transactions", "unfinished", "subscriptions", "offers", "statement"];

/// How long a connection may take to show that it lives.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
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

/// Whether a connection that is given back answers. By itself the pool would wait for ever, and have no place for another.
async fn lives(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let ping = timeout(PING_TIMEOUT, connection.ping());
    ping.await
        .map_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()), |answer| answer.map(|()| true))
}

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
            .after_release(|connection, _| Box::pin(lives(connection)))
            .connect_lazy_with(connect);
        Self { pool, checkpoint }
    }

    /// The position of the last event that is in the tables.
    ///
    /// # Errors
    /// `Lost` when there is no checkpoint; `Database`.
    pub async fn checkpoint(&self) -> Result<i64, Error> {
        let at = self.stored().await?;
        self.checkpoint.reached(at.position);
        Ok(at.position)
    }

    /// Takes the page that starts right after the checkpoint, whole or not at all.
    ///
    /// # Errors
    /// `Overtaken` when the checkpoint is elsewhere: ask for it again. `Database` when nothing is known
    /// of the outcome: ask as well. `Lost` when the tables have to be rebuilt. `Unreadable` and `Broken` when no
    /// try will ever succeed.
    pub async fn apply(&self, events: &[Recorded]) -> Result<(), Error> {
        let (Some(page), Some(last)) = (Page::fold(events)?, events.last()) else { return Ok(()) };
        let mut sql = self.pool.begin().await?;
        write(&mut sql, page, last.checkpoint()).await.map_err(not_whole)?;
        sql.commit().await?;
        self.checkpoint.reached(last.position);
        Ok(())
    }

    /// Puts the live tables aside if they are of another log than `history`, so that nobody is served from them.
    /// Asked when a process starts; the projector asks again and again.
    pub async fn discard_those_of_another_log(&self, history: &dyn History) -> Result<(), Error> {
        let at = match self.stored().await {
            Ok(at) => at,
            Err(Error::Lost(_)) => return Ok(()), // the projector rebuilds them
            Err(cause) => return Err(cause),
        };
        match contains(history, at).await.map_err(Error::History)? {
            true => Ok(()),
            false => self.discard(Some(at)).await,
        }
    }

    async fn stored(&self) -> Result<Checkpoint, Error> {
        let query = sqlx::query("select position, event_id from checkpoint");
        checkpoint::from_row(query.fetch_optional(&self.pool).await)
    }

    /// The checkpoint of tables that are all there and of the log `history`.
    ///
    /// # Errors
    /// `Lost` when they are not.
    async fn whole(&self, history: &dyn History) -> Result<Checkpoint, Error> {
        let at = self.stored().await?;
        let query = sqlx::query_scalar("select count(to_regclass(name)) from unnest($1::text[]) as name");
        let found: i64 = query.bind(TABLES.as_slice()).fetch_one(&self.pool).await?;
        if usize::try_from(found) != Ok(TABLES.len()) {
            return Err(Error::Lost("a table is missing"));
        }
        match contains(history, at).await.map_err(Error::History)? {
            true => Ok(at),
            false => Err(Error::Lost("they are of another log")),
        }
    }

    /// Puts the live tables aside, unless somebody has moved their checkpoint from `at`.
    async fn discard(&self, at: Option<Checkpoint>) -> Result<(), Error> {
        self.checkpoint.lost();
        let discard = sqlx::query("select public.discard_read_tables($1, $2)");
        let discard = discard.bind(at.map(|at| at.position)).bind(at.map(|at| at.event_id));
        discard.execute(&self.pool).await?;
        Ok(())
    }
}

/// Names the error of a row that is there already: the tables contain more than their checkpoint says.
fn not_whole(error: Error) -> Error {
    let Error::Database(cause) = error else { return error };
    let database = cause.as_database_error();
    match database.is_some_and(sqlx::error::DatabaseError::is_unique_violation) {
        true => Error::Lost("a row that begins is there already"),
        false => checkpoint::missing_tables(cause),
    }
}

async fn write(sql: &mut PgConnection, page: Page, last: Checkpoint) -> Result<(), Error> {
    take_turn(sql, page.first - 1, last).await?;
    transaction::write_unfinished(sql, &page.transactions).await?;
    transaction::write(sql, page.transactions).await?;
    subscription::write(sql, &page.subscriptions).await?;
    offer::write(sql, &page.offers).await?;
    statement::write(sql, &page.entries).await
}

/// Moves the checkpoint. First of all, because its row is also the lock between projectors.
async fn take_turn(sql: &mut PgConnection, from: i64, to: Checkpoint) -> Result<(), Error> {
    let moved = sqlx::query("update checkpoint set position = $2, event_id = $3 where position = $1");
    let moved = moved.bind(from).bind(to.position).bind(to.event_id).execute(sql).await?.rows_affected();
    if moved == 1 { Ok(()) } else { Err(Error::Overtaken { expected: from }) }
}
