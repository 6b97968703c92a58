//! Compares the read tables with the fold at the same position.

use super::Check;
use super::fold::Statement;
use super::rows::Hashes;
use super::streams::{STREAMS, Streams, StreamsOf};
use crate::readers::Readers;
use crate::{Error, StoredHash, SubscriptionView, TransactionView, offer, statement};
use domain::Recorded;
use futures::TryStreamExt;
use sqlx::{Connection, PgConnection, Postgres, Row};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

const BEGIN: &str = "begin isolation level repeatable read, read only";

/// Every entry, each account's in order.
const STATEMENT: &str =
    "select account_id, position, amount, balance from read.statement order by account_id, position";

/// The read tables at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// Their checkpoint then: fold exactly up to there.
    pub position: i64,
    sql: sqlx::Transaction<'static, Postgres>,
    /// The same moment on a connection of its own, for a long question.
    other: PgConnection,
}

impl Readers {
    /// Takes a snapshot of the read tables. Until it is dropped it holds one connection of the pool, and one that is not of
    /// the pool: snapshots that took two of it could wait for each other.
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        let mut sql = self.pool().begin_with(BEGIN).await?;
        let mut other = PgConnection::connect_with(&self.pool().connect_options()).await?;
        sqlx::query(BEGIN).execute(&mut other).await?;
        // Reading it also keeps `offers replay` from switching the tables meanwhile. The service may put them aside
        // when they are lost: then the next statement does not find them, and the check fails.
        let row = sqlx::query("select position from read.checkpoint").fetch_one(&mut *sql).await?;
        let name: String = sqlx::query_scalar("select pg_export_snapshot()").fetch_one(&mut *sql).await?;
        sqlx::query(&format!("set transaction snapshot '{name}'")).execute(&mut other).await?;
        Ok(Snapshot { position: row.try_get("position")?, sql, other })
    }
}

impl Check {
    /// Compares every row of `snapshot`, up to whose position the log was folded, with the events.
    pub async fn compare_read_tables(
        &mut self,
        snapshot: Snapshot,
        streams: &impl Streams,
    ) -> Result<(), Error> {
        let rows = self.fold.rows.take().unwrap_or_default();
        let (transactions, subscriptions, hashes) = rows.sums(self.fold.open.values().map(AsRef::as_ref));
        let Snapshot { position, mut sql, mut other } = snapshot;
        let statement = statements(&mut other, self.fold.hashes.clone());
        let compared = async {
            let (log, hashes) = (streams, &hashes);
            self.compare_rows::<TransactionView>((&mut sql, position), log, transactions, hashes).await?;
            self.compare_rows::<SubscriptionView>((&mut sql, position), log, subscriptions, hashes).await
        };
        let ((), statement) = tokio::try_join!(compared, statement)?;
        let rows =
            sqlx::query(&format!("select {} from read.offers", offer::COLUMNS)).fetch_all(&mut *sql).await?;
        for row in &rows {
            let view = offer::from_row(row)?;
            let held = self.fold.offers.get_mut(&view.offer_id);
            let same = held.map(|held| {
                held.found = true;
                held.state == view
            });
            self.judge("offer", view.offer_id.0, same);
        }
        let missing = self.fold.offers.iter().filter(|(_, held)| !held.found).map(|(id, _)| id.0);
        for id in missing.collect::<Vec<_>>() {
            self.tell_missing("offer", id);
        }
        self.compare_unfinished(&mut sql, streams).await?;
        self.compare_statements(&statement);
        Ok(())
    }

    /// Compares a hash with its transaction's own `events` (see `StoredHash::difference`).
    ///
    /// # Errors
    /// `Unreadable` and `Broken` when the events cannot be folded.
    pub fn compare_hash(
        &mut self,
        hash: &StoredHash,
        events: &[Recorded],
        checkpoint: i64,
    ) -> Result<(), Error> {
        if let Some(why) = hash.difference(events, checkpoint)? {
            self.differences.add(format_args!("the hash {} {why}", hash.key));
        }
        Ok(())
    }

    /// `same` is `None` if there are no events.
    pub(super) fn judge(&mut self, what: &str, id: Uuid, same: Option<bool>) {
        match same {
            Some(true) => {}
            Some(false) => self.differences.add(format_args!("{what} {id} is not as its events say")),
            None => self.differences.add(format_args!("{what} {id} has a row and no events")),
        }
    }

    pub(super) fn tell_missing(&mut self, what: &str, id: Uuid) {
        self.differences.add(format_args!("{what} {id} has events and no row"));
    }

    async fn compare_unfinished(
        &mut self,
        sql: &mut PgConnection,
        streams: &impl Streams,
    ) -> Result<(), Error> {
        let rows = sqlx::query("select transaction_id from read.unfinished").fetch_all(sql).await?;
        let mut listed =
            rows.iter().map(|row| row.try_get("transaction_id")).collect::<Result<HashSet<Uuid>, _>>()?;
        for id in self.fold.open.keys() {
            if !listed.remove(&id.0) {
                self.differences.add(format_args!("transaction {id} is not listed as unfinished"));
            }
        }
        let wrong: Vec<Uuid> = listed.into_iter().collect();
        for ids in wrong.chunks(STREAMS) {
            let events = streams.of(StreamsOf::Transactions, ids.to_vec()).await.map_err(Error::History)?;
            for id in ids {
                let text = id.to_string();
                match events.iter().any(|event| event.aggregate_id == text) {
                    true => self
                        .differences
                        .add(format_args!("transaction {id} is final and listed as unfinished")),
                    false => self
                        .differences
                        .add(format_args!("transaction {id} is listed as unfinished and has no events")),
                }
            }
        }
        Ok(())
    }

    fn compare_statements(&mut self, found: &HashMap<Uuid, Statement>) {
        let mut folded = self.fold.accounts.clone();
        for (account, found) in found {
            let expected = folded.remove(account).unwrap_or_default();
            let (balance, entries) = (found.balance, found.entries);
            if (balance, entries) != (expected.balance, expected.entries) {
                self.differences.add(format_args!(
                    "the statement of account {account} has {entries} entries and ends with {balance}, \
                     its events have {} and end with {}",
                    expected.entries, expected.balance
                ));
            } else if *found != expected {
                self.differences.add(format_args!(
                    "the statement of account {account} has an entry or a balance that its events do not have"
                ));
            }
        }
        for (account, Statement { balance, entries, .. }) in folded {
            self.differences.add(format_args!(
                "account {account} has no statement, its events have {entries} entries and end with {balance}"
            ));
        }
    }
}

/// What each account's entries make.
async fn statements(sql: &mut PgConnection, hashes: Hashes) -> Result<HashMap<Uuid, Statement>, Error> {
    let mut rows = sqlx::query(STATEMENT).fetch(sql);
    let mut statements: HashMap<Uuid, Statement> = HashMap::new();
    while let Some(row) = rows.try_next().await? {
        statements.entry(row.try_get("account_id")?).or_default().add(&statement::from_row(&row)?, &hashes);
    }
    Ok(statements)
}
