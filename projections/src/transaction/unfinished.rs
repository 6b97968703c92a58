//! Which transactions are not final yet? The table `unfinished` holds only those: a few rows that come
//! and go, so that asking is cheap however long history is.

use super::Change;
use crate::Error;
use crate::read_tables::Parameters;
use crate::readers::{Column, Readers, answered, moment};
use chrono::{DateTime, Utc};
use domain::{Timestamp, TransactionId};
use sqlx::Row;
use std::ops::RangeInclusive;
use std::time::Duration;
use uuid::Uuid;

/// Purchases among which a success is looked for: more than are called at the same time.
const BEFORE: i64 = 10_000;

/// Purchases of which the pace is taken: as many as are finished within a second under load.
const PACE: i64 = 1_000;

/// A transaction that is not final.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unfinished {
    /// Which one.
    pub transaction_id: TransactionId,
    /// The position of its request.
    pub position: i64,
    /// When it was requested.
    pub requested_at: Timestamp,
    /// How often it was tried; 0 before the first attempt.
    pub attempts: u32,
    /// When something last happened to it.
    pub updated_at: Timestamp,
}

/// A purchase that was never attempted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untried {
    /// When a user or a partner asked for it.
    pub requested_at: Timestamp,
    /// Whether purchases that were requested before it have succeeded recently.
    pub others_succeed: bool,
    /// How many purchases are not final, from this one on.
    pub open: i64,
    /// How many of the last ones before it have succeeded recently.
    pub finished: i64,
    /// From the first to the last success of these.
    pub finished_within: Duration,
}

/// How much is on its way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Transactions without a final status.
    pub unfinished: i64,
    /// When the oldest of them was requested.
    pub oldest: Option<Timestamp>,
    /// Transactions whose outcome is unknown or was contradicted.
    pub in_doubt: i64,
    /// When the oldest of them was requested.
    pub oldest_in_doubt: Option<Timestamp>,
}

/// Binds what begins in a page and stays open, and what ends in it.
pub(crate) fn bind(parameters: Parameters, changes: &[Change]) -> Parameters {
    let opened: Vec<(Uuid, i64)> = changes
        .iter()
        .filter(|change| !change.is_final())
        .filter_map(|change| change.requested.as_ref().map(|begun| (change.id.0, begun.position)))
        .collect();
    let ended = changes.iter().filter(|change| change.is_final() && change.requested.is_none());
    parameters
        .bind(opened.column(|(id, _)| *id))
        .bind(opened.column(|(_, position)| *position))
        .bind(ended.map(|change| change.id.0).collect::<Vec<_>>())
}

impl Readers {
    /// Transactions that were requested after the position `after` and to which nothing has happened
    /// for `age` plus the delay after their last attempt: `delay.start()`, doubled with each further
    /// attempt, up to `delay.end()`; 0 before the first one. Oldest first, at most `limit`.
    pub async fn unfinished(
        &self,
        now: Timestamp,
        age: Duration,
        delay: RangeInclusive<Duration>,
        after: i64,
        limit: u32,
    ) -> Result<Vec<Unfinished>, Error> {
        let query = sqlx::query(include_str!("unfinished.sql"))
            .bind(now.utc())
            .bind(age.as_secs_f64())
            .bind(delay.start().as_secs_f64())
            .bind(delay.end().as_secs_f64())
            .bind(i64::from(limit))
            .bind(after);
        answered(query.fetch_all(self.pool()))
            .await?
            .iter()
            .map(|row| {
                Ok(Unfinished {
                    transaction_id: TransactionId(row.try_get("transaction_id")?),
                    position: row.try_get("created_position")?,
                    requested_at: moment(row, "created_at")?,
                    attempts: row.try_get::<i32, _>("attempts")?.cast_unsigned(),
                    updated_at: moment(row, "updated_at")?,
                })
            })
            .collect()
    }

    /// How much is on its way.
    pub async fn backlog(&self) -> Result<Backlog, Error> {
        let row = answered(sqlx::query(include_str!("backlog.sql")).fetch_one(self.pool())).await?;
        let time = |name| row.try_get::<Option<DateTime<Utc>>, _>(name).map(|at| at.map(Timestamp::new));
        Ok(Backlog {
            unfinished: row.try_get("unfinished")?,
            oldest: time("oldest")?,
            in_doubt: row.try_get("in_doubt")?,
            oldest_in_doubt: time("oldest_in_doubt")?,
        })
    }

    /// The oldest purchase that was never attempted, unless it is parked. Others succeed if one did within `recent`.
    pub async fn oldest_untried(&self, now: Timestamp, recent: Duration) -> Result<Option<Untried>, Error> {
        let query = sqlx::query(include_str!("untried.sql")).bind(now.utc() - recent).bind(BEFORE).bind(PACE);
        let row = answered(query.fetch_optional(self.pool())).await?;
        row.map(|row| {
            let time = |name| row.try_get::<Option<DateTime<Utc>>, _>(name);
            let within = time("last_at")?.zip(time("first_at")?).map(|(last, first)| last - first);
            Ok(Untried {
                requested_at: moment(&row, "created_at")?,
                others_succeed: row.try_get("others_succeed")?,
                open: row.try_get("open")?,
                finished: row.try_get("finished")?,
                finished_within: within.and_then(|within| within.to_std().ok()).unwrap_or_default(),
            })
        })
        .transpose()
    }

    /// Every transaction that was requested before this position is final. Never beyond what the
    /// read tables have seen.
    pub async fn finished_before(&self) -> Result<i64, Error> {
        let query = "select least((select min(created_position) from read.unfinished), \
                     (select position + 1 from read.checkpoint))";
        Ok(answered(sqlx::query_scalar(query).fetch_one(self.pool())).await?)
    }
}
