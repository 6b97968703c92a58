//! Fills an empty Redis from the read tables, as they stand at one moment.
//!
//! Never by walking history: clients would see a finished status go back. Whatever is there is thrown
//! away first, and only then the moment is chosen, so it is later than everything that a client can
//! have been told. A mark in Redis says that the copy is still the same one: a flush takes it away, and
//! what would come after it is refused.

use super::CHECKPOINT;
use super::connection::Connection;
use super::script::{self, Guard, Hash};
use crate::readers::Readers;
use crate::{Error, offer, transaction};
use chrono::{DateTime, TimeDelta, Utc};
use domain::{Checkpoint, History};
use sqlx::{PgConnection, Row};
use std::time::Duration;
use uuid::Uuid;

/// Holds the token of the copy under way.
const MARK: &str = "offers:copy";
/// Rows a script call.
const CHUNK_ROWS: i64 = 500;
/// Final transactions that are copied, the newest: any other comes back when it is read.
const MAX_FINAL_ROWS: usize = 100_000;
/// Keys that Redis looks at in one step of a scan.
const SCAN_COUNT: usize = 1_000;

/// Copies everything that is unfinished, what became final within `ttl`, and the offers. Gives the
/// position at which the hashes are then.
pub(super) async fn copy(
    redis: &Connection,
    readers: &Readers,
    history: &dyn History,
    ttl: Duration,
) -> Result<i64, Error> {
    let token = Uuid::now_v7().to_string();
    redis.ask(async |mut redis| redis::cmd("SET").arg(MARK).arg(&token).exec_async(&mut redis).await).await?;
    let clearing = Copy { redis, token: &token, ttl, at: Checkpoint::START };
    clearing.clear().await?;

    let mut sql = readers.pool().begin().await?;
    sqlx::query("set transaction isolation level repeatable read, read only").execute(&mut *sql).await?;
    let (position, now) = snapshot(&mut sql).await?;
    let copy = Copy { at: checkpoint_at(history, position).await?, ..clearing };
    let offers = copy.offers(&mut sql).await?;
    let unfinished = copy.unfinished(&mut sql).await?;
    let finals = copy.finals(&mut sql, now).await?;
    sql.commit().await?;

    copy.finish().await?;
    tracing::info!(position, offers, unfinished, finals, "Redis was filled from the read tables");
    Ok(position)
}

/// Takes the snapshot: where and when it is. Reading the checkpoint also keeps `offers replay` from switching the
/// tables meanwhile. If the service puts them aside, because they are lost, the next statement does not find them, and
/// the copy is not finished.
async fn snapshot(sql: &mut PgConnection) -> Result<(i64, DateTime<Utc>), Error> {
    let row = sqlx::query("select position, now() as now from read.checkpoint").fetch_one(sql).await?;
    Ok((row.try_get("position")?, row.try_get("now")?))
}

/// The position of the read tables with the id of the event there.
async fn checkpoint_at(history: &dyn History, position: i64) -> Result<Checkpoint, Error> {
    if position == 0 {
        return Ok(Checkpoint::START);
    }
    let event_id = history.event_id_at(position).await.map_err(Error::History)?;
    let why = "the read tables are further than the log";
    Ok(Checkpoint { position, event_id: event_id.ok_or(Error::Broken { position, why })? })
}

/// A copy under way, at one position of the read tables.
struct Copy<'a> {
    redis: &'a Connection,
    token: &'a str,
    ttl: Duration,
    at: Checkpoint,
}

impl Copy<'_> {
    /// Removes the checkpoint first: without it no reader trusts the hashes.
    async fn clear(&self) -> Result<(), Error> {
        self.remove(vec![CHECKPOINT.into()]).await?;
        for pattern in ["transaction:*", "offer:*"] {
            let mut cursor = 0;
            loop {
                let (next, keys) = self.scan(pattern, cursor).await?;
                self.remove(keys).await?;
                cursor = next;
                if cursor == 0 {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn scan(&self, pattern: &str, cursor: u64) -> Result<(u64, Vec<Vec<u8>>), Error> {
        let mut scan = redis::cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(pattern).arg("COUNT").arg(SCAN_COUNT);
        self.redis.ask(async |mut redis| scan.query_async(&mut redis).await).await
    }

    async fn remove(&self, keys: Vec<Vec<u8>>) -> Result<(), Error> {
        if keys.is_empty() {
            return Ok(());
        }
        let clear = script::clear(MARK, self.token, &keys);
        self.uninterrupted(self.redis.ask(async |mut redis| clear.invoke_async(&mut redis).await).await?)
    }

    async fn offers(&self, sql: &mut PgConnection) -> Result<usize, Error> {
        let select = format!("select {} from read.offers", offer::COLUMNS);
        let rows = sqlx::query(&select).fetch_all(sql).await?;
        let hashes = rows.iter().map(|row| offer::from_row(row).map(Hash::offer_row));
        self.write(&hashes.collect::<Result<Vec<_>, _>>()?).await?;
        Ok(rows.len())
    }

    async fn unfinished(&self, sql: &mut PgConnection) -> Result<usize, Error> {
        let select = format!(
            "select {} from read.unfinished join read.transactions using (transaction_id, created_position) \
             where created_position < $1 order by created_position desc limit $2",
            transaction::COLUMNS
        );
        self.transactions(sql, &select, usize::MAX, DateTime::<Utc>::MIN_UTC).await
    }

    async fn finals(&self, sql: &mut PgConnection, now: DateTime<Utc>) -> Result<usize, Error> {
        let select = format!(
            "select {} from read.transactions \
             where created_position < $1 and completed_at is not null \
             order by created_position desc limit $2",
            transaction::COLUMNS
        );
        let ttl = TimeDelta::from_std(self.ttl).unwrap_or(TimeDelta::MAX);
        let since = now.checked_sub_signed(ttl).unwrap_or(DateTime::<Utc>::MIN_UTC);
        self.transactions(sql, &select, MAX_FINAL_ROWS, since).await
    }

    /// Copies what `select` gives, newest first, a chunk at a time, down to what was created at `since`.
    async fn transactions(
        &self,
        sql: &mut PgConnection,
        select: &str,
        most: usize,
        since: DateTime<Utc>,
    ) -> Result<usize, Error> {
        let mut copied = 0;
        let mut before = i64::MAX;
        while copied < most {
            let rows = sqlx::query(select).bind(before).bind(CHUNK_ROWS).fetch_all(&mut *sql).await?;
            let views = rows.iter().map(transaction::from_row).collect::<Result<Vec<_>, _>>()?;
            let hashes: Vec<_> = views.iter().map(|view| Hash::transaction_row(view, self.ttl)).collect();
            self.write(&hashes).await?;
            copied += views.len();
            let Some(last) = views.last() else { break };
            if last.created_at.utc() < since {
                break;
            }
            before = last.created_position;
        }
        Ok(copied)
    }

    async fn write(&self, hashes: &[Hash]) -> Result<(), Error> {
        let write = script::write(&Guard::holds(MARK, self.token), hashes);
        self.uninterrupted(self.redis.ask(async |mut redis| write.invoke_async(&mut redis).await).await?)
    }

    async fn finish(&self) -> Result<(), Error> {
        let finish = script::finish_copy(MARK, self.token, CHECKPOINT, self.at);
        self.uninterrupted(self.redis.ask(async |mut redis| finish.invoke_async(&mut redis).await).await?)
    }

    fn uninterrupted(&self, answer: i64) -> Result<(), Error> {
        if answer == 1 { Ok(()) } else { Err(Error::Overtaken { expected: self.at.position }) }
    }
}
