//! Compares the read tables with the fold at the same position.

use super::Check;
use super::fold::{Held, TransactionState, digest};
use crate::readers::Readers;
use crate::{Error, StoredHash, TransactionView, offer, subscription, transaction};
use domain::Recorded;
use rust_decimal::Decimal;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Postgres, Row, Transaction};
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use uuid::Uuid;

/// Rows that are compared in one go.
const CHUNK_ROWS: i64 = 1_000;

/// The read tables at one moment.
#[derive(Debug)]
pub struct Snapshot {
    /// Their checkpoint then: fold exactly up to there.
    pub position: i64,
    sql: Transaction<'static, Postgres>,
}

impl Readers {
    /// Takes a snapshot of the read tables; it holds a connection until it is dropped.
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        let mut sql = self.pool().begin().await?;
        sqlx::query("set transaction isolation level repeatable read, read only").execute(&mut *sql).await?;
        // Reading it also keeps a rebuild from switching the tables meanwhile.
        let row = sqlx::query("select position from read.checkpoint").fetch_one(&mut *sql).await?;
        Ok(Snapshot { position: row.try_get("position")?, sql })
    }
}

impl Check {
    /// Compares every row of `snapshot` with the fold.
    pub async fn compare_read_tables(&mut self, mut snapshot: Snapshot) -> Result<(), Error> {
        let sql = &mut *snapshot.sql;
        let mut after = Uuid::nil();
        loop {
            let rows = chunk(sql, "transactions", transaction::COLUMNS, "transaction_id", after).await?;
            let views = rows.iter().map(transaction::from_row).collect::<Result<Vec<_>, _>>()?;
            let Some(last) = views.last() else { break };
            after = last.transaction_id.0;
            self.compare_transactions(&views);
        }
        let mut after = Uuid::nil();
        loop {
            let rows = chunk(sql, "subscriptions", subscription::COLUMNS, "subscription_id", after).await?;
            let views = rows.iter().map(subscription::from_row).collect::<Result<Vec<_>, _>>()?;
            let Some(last) = views.last() else { break };
            after = last.subscription_id.0;
            for view in &views {
                let same = find(&mut self.fold.subscriptions, view.subscription_id, |held| **held == *view);
                self.judge("subscription", view.subscription_id.0, same);
            }
        }
        let rows =
            sqlx::query(&format!("select {} from read.offers", offer::COLUMNS)).fetch_all(&mut *sql).await?;
        for row in &rows {
            let view = offer::from_row(row)?;
            let same = find(&mut self.fold.offers, view.offer_id, |held| *held == view);
            self.judge("offer", view.offer_id.0, same);
        }
        self.tell_missing();
        self.compare_unfinished(sql).await?;
        self.compare_statement(sql).await
    }

    fn compare_transactions(&mut self, views: &[TransactionView]) {
        for view in views {
            let same = find(&mut self.fold.transactions, view.transaction_id, |held| match held {
                TransactionState::Open(held) => **held == *view,
                TransactionState::Final(held) => *held == digest(view),
            });
            self.judge("transaction", view.transaction_id.0, same);
        }
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
    fn judge(&mut self, what: &str, id: Uuid, same: Option<bool>) {
        match same {
            Some(true) => {}
            Some(false) => self.differences.add(format_args!("{what} {id} is not as its events say")),
            None => self.differences.add(format_args!("{what} {id} has a row and no events")),
        }
    }

    fn tell_missing(&mut self) {
        let transactions = not_found(&self.fold.transactions).map(|id| ("transaction", id.0));
        let subscriptions = not_found(&self.fold.subscriptions).map(|id| ("subscription", id.0));
        let offers = not_found(&self.fold.offers).map(|id| ("offer", id.0));
        let all: Vec<_> = transactions.chain(subscriptions).chain(offers).collect();
        for (what, id) in all {
            self.differences.add(format_args!("{what} {id} has events and no row"));
        }
    }

    async fn compare_unfinished(&mut self, sql: &mut PgConnection) -> Result<(), Error> {
        let rows = sqlx::query("select transaction_id from read.unfinished").fetch_all(sql).await?;
        let mut listed =
            rows.iter().map(|row| row.try_get("transaction_id")).collect::<Result<HashSet<Uuid>, _>>()?;
        for (id, held) in &self.fold.transactions {
            let open = matches!(held.state, TransactionState::Open(_));
            if listed.remove(&id.0) != open {
                let is =
                    if open { "is not listed as unfinished" } else { "is final and listed as unfinished" };
                self.differences.add(format_args!("transaction {id} {is}"));
            }
        }
        for id in listed {
            self.differences.add(format_args!("transaction {id} is listed as unfinished and has no events"));
        }
        Ok(())
    }

    async fn compare_statement(&mut self, sql: &mut PgConnection) -> Result<(), Error> {
        let query = "select account_id, sum(amount) as sum, count(*) as count from read.statement group by account_id";
        let rows = sqlx::query(query).fetch_all(sql).await?;
        let mut folded = self.fold.accounts.clone();
        for row in &rows {
            let (account, sum, count) = statement_row(row)?;
            let expected = folded.remove(&account).unwrap_or_default();
            if (sum, count) != (expected.0.decimal(), expected.1) {
                self.differences.add(format_args!(
                    "the statement of account {account} has {count} entries that make {sum}, \
                     its events have {} that make {}",
                    expected.1, expected.0
                ));
            }
        }
        for (account, (sum, count)) in folded {
            self.differences.add(format_args!(
                "account {account} has no statement, its events have {count} entries that make {sum}"
            ));
        }
        Ok(())
    }
}

async fn chunk(
    sql: &mut PgConnection,
    table: &str,
    columns: &str,
    key: &str,
    after: Uuid,
) -> Result<Vec<PgRow>, Error> {
    let query = format!("select {columns} from read.{table} where {key} > $1 order by {key} limit $2");
    Ok(sqlx::query(&query).bind(after).bind(CHUNK_ROWS).fetch_all(sql).await?)
}

fn statement_row(row: &PgRow) -> Result<(Uuid, Decimal, i64), sqlx::Error> {
    Ok((row.try_get("account_id")?, row.try_get("sum")?, row.try_get("count")?))
}

fn find<K: Eq + Hash, T>(
    held: &mut HashMap<K, Held<T>>,
    id: K,
    same: impl FnOnce(&T) -> bool,
) -> Option<bool> {
    let held = held.get_mut(&id)?;
    held.found = true;
    Some(same(&held.state))
}

fn not_found<K: Copy, T>(held: &HashMap<K, Held<T>>) -> impl Iterator<Item = K> {
    held.iter().filter(|(_, held)| !held.found).map(|(id, _)| *id)
}
