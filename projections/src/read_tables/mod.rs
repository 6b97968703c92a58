//! The writer of the read tables: a page of events becomes one statement, which also moves the checkpoint.

mod connection;
mod difference;
mod parameters;
mod projector;
mod rebuild;

pub use difference::Difference;
pub(crate) use parameters::Parameters;
pub use projector::TableProjector;
pub use rebuild::{Held, Rebuild};

use crate::checkpoint::{self, ReadCheckpoint};
use crate::history::contains;
use crate::page::Page;
use crate::{Error, offer, statement, subscription, transaction};
use connection::{Connection, Statement};
use domain::{Checkpoint, History, Recorded, TransactionId};
use sqlx::Row;
use sqlx::postgres::PgConnectOptions;
use std::collections::HashMap;

/// The schema that is read.
pub(crate) const LIVE: &str = "read";
/// The schema in which a rebuild is made.
pub(crate) const NEXT: &str = "read_next";
/// What is in either.
const TABLES: [&str; 6] =
    ["checkpoint", "transactions", "unfinished", "subscriptions", "offers", "statement"];

/// Settings of the writing connection; times in milliseconds. Planning is pinned to the indexes: a plan
/// that is cached while the tables are small would read all of them when they no longer are. One plan serves every page:
/// planning takes longer than writing a page. Triggers add charges for a program that does not write them itself.
const SETTINGS: [(&str, &str); 9] = [
    ("application_name", "offers-projector"),
    ("statement_timeout", "20000"),
    ("lock_timeout", "10000"),
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
    ("offers.writes_charges", "on"),
];

/// One set of read tables, the live one or the one that will take its place. Any number of processes
/// may write to it: the checkpoint lets one of them win each page.
#[derive(Clone, Debug)]
pub struct ReadTables {
    connection: Connection,
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
        Self { connection: Connection::new(connect), checkpoint }
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
        let from = page.first - 1;
        let written = self.connection.execute(write(page, last.checkpoint())?).await.map_err(not_whole)?;
        if written == 0 {
            return Err(Error::Overtaken { expected: from });
        }
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
        checkpoint::from_row(self.connection.row(query).await)
    }

    /// The checkpoint of tables that are all there and of the log `history`.
    ///
    /// # Errors
    /// `Lost` when they are not.
    async fn whole(&self, history: &dyn History) -> Result<Checkpoint, Error> {
        let at = self.stored().await?;
        let query = sqlx::query(
            "select count(to_regclass(name)) = cardinality($1) and exists ( \
                 select from pg_attribute where attrelid = to_regclass('statement') and attname = 'balance') \
             from unnest($1::text[]) as name",
        );
        if !self.says(query.bind(TABLES.as_slice())).await? {
            return Err(Error::Lost("a table is missing, or has the form of an older version"));
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
        self.connection.execute(discard).await?;
        Ok(())
    }

    /// The truth that `question` answers with.
    async fn says(&self, question: Statement<'_>) -> Result<bool, sqlx::Error> {
        self.connection.row(question).await?.ok_or(sqlx::Error::RowNotFound)?.try_get(0)
    }
}

/// Names the error of a row that is there already, or is missing: the tables contain more, or less, than their
/// checkpoint says.
fn not_whole(cause: sqlx::Error) -> Error {
    use sqlx::error::ErrorKind::{CheckViolation, UniqueViolation};
    match cause.as_database_error().map(sqlx::error::DatabaseError::kind) {
        Some(UniqueViolation) => Error::Lost("a row that begins is there already"),
        Some(CheckViolation) => Error::Lost("a row that changes is missing"),
        _ => checkpoint::missing_tables(cause),
    }
}

/// The statement that writes `page` and moves the checkpoint to `last`.
fn write(page: Page, last: Checkpoint) -> Result<Statement<'static>, sqlx::Error> {
    let requested: HashMap<TransactionId, String> =
        page.transactions.iter().filter_map(name_of_offer).collect();
    let parameters = Parameters::default().bind(page.first - 1).bind(last.position).bind(last.event_id);
    let parameters = transaction::bind_unfinished(parameters, &page.transactions);
    let parameters = transaction::bind(parameters, page.transactions);
    let parameters = subscription::bind(parameters, &page.subscriptions, &requested);
    let parameters = offer::bind(parameters, &page.offers);
    statement::bind(parameters, &page.entries, &page.charges).of(include_str!("write_page.sql"))
}

/// The name of the offer that a transaction buys which begins in the page.
fn name_of_offer(change: &transaction::Change) -> Option<(TransactionId, String)> {
    Some((change.id, change.requested.as_ref()?.request.offer_name.clone()))
}
