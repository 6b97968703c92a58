//! The table of runs, `schedule_runs`.

use super::due::History;
use chrono::{DateTime, Duration, Utc};
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Row};
use strum::IntoStaticStr;
use uuid::Uuid;

/// How long runs are kept. Must include the latest run of each schedule.
const KEPT: Duration = Duration::days(90);
/// Characters of an error that are kept.
const ERROR_LENGTH: usize = 500;

#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum RunOutcome {
    /// Everything that was due is done.
    Done,
    /// Something is not done; the run is repeated.
    Failed,
    /// The scheduler was stopped; the next leader continues.
    Interrupted,
}

/// The subscriptions of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub found: u64,
    pub changed: u64,
    /// Done by another run, or renewed meanwhile.
    pub unchanged: u64,
    pub failed: u64,
}

/// A run as it is recorded.
#[derive(Clone, Debug)]
pub struct RunView {
    pub id: Uuid,
    /// The time for which it ran.
    pub due_at: DateTime<Utc>,
    pub started_at: DateTime<Utc>,
    pub finished_at: Option<DateTime<Utc>>,
    /// `running`, or one of [`RunOutcome`].
    pub outcome: String,
    pub found: i64,
    pub changed: i64,
    pub unchanged: i64,
    pub failed: i64,
    pub error: Option<String>,
}

impl FromRow<'_, PgRow> for RunView {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("run_id")?,
            due_at: row.try_get("due_at")?,
            started_at: row.try_get("started_at")?,
            finished_at: row.try_get("finished_at")?,
            outcome: row.try_get("outcome")?,
            found: row.try_get("found")?,
            changed: row.try_get("changed")?,
            unchanged: row.try_get("unchanged")?,
            failed: row.try_get("failed")?,
            error: row.try_get("error")?,
        })
    }
}

#[derive(Clone, Debug)]
pub(super) struct Runs {
    pool: PgPool,
}

impl Runs {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// The history of the schedule `name`, for [`due`](super::due).
    pub(super) async fn history(&self, name: &str) -> Result<History, sqlx::Error> {
        let row = sqlx::query(
            "with done as (
                 select due_at from schedule_runs where name = $1 and outcome = 'done'
                 order by due_at desc limit 1
             ), failed as (
                 select due_at, finished_at from schedule_runs
                 where name = $1 and outcome = 'failed'
                   and due_at > coalesce((select due_at from done), '-infinity')
                 order by due_at desc, finished_at desc limit 1
             )
             select (select due_at from done) as done_for, failed.due_at, failed.finished_at
             from (select) as always left join failed on true",
        )
        .bind(name)
        .fetch_one(&self.pool)
        .await?;
        let failed: (Option<DateTime<Utc>>, Option<DateTime<Utc>>) =
            (row.try_get("due_at")?, row.try_get("finished_at")?);
        Ok(History { done: row.try_get("done_for")?, failed: failed.0.zip(failed.1) })
    }

    /// The runs of the schedule `name`, newest first.
    pub(super) async fn newest(&self, name: &str, limit: u32) -> Result<Vec<RunView>, sqlx::Error> {
        let runs = sqlx::query_as(
            "select run_id, due_at, started_at, finished_at, outcome, found, changed, unchanged, failed, error
             from schedule_runs where name = $1 order by due_at desc, started_at desc limit $2",
        );
        runs.bind(name).bind(i64::from(limit)).fetch_all(&self.pool).await
    }

    /// Records the start of a run of `name` for the time `due_at`. A run that a crash left running becomes
    /// interrupted.
    pub(super) async fn begin(
        &self,
        name: &str,
        due_at: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Uuid, sqlx::Error> {
        let id = Uuid::now_v7();
        sqlx::query(
            "with left_over as (
                 update schedule_runs set outcome = 'interrupted' where name = $2 and outcome = 'running'
             )
             insert into schedule_runs (run_id, name, due_at, started_at, outcome)
             values ($1, $2, $3, $4, 'running')",
        )
        .bind(id)
        .bind(name)
        .bind(due_at)
        .bind(now)
        .execute(&self.pool)
        .await?;
        Ok(id)
    }

    pub(super) async fn finish(
        &self,
        id: Uuid,
        now: DateTime<Utc>,
        outcome: RunOutcome,
        tally: Tally,
        error: Option<&str>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "update schedule_runs
             set finished_at = $2, outcome = $3, found = $4, changed = $5, unchanged = $6, failed = $7,
                 error = $8
             where run_id = $1",
        )
        .bind(id)
        .bind(now)
        .bind(outcome.into_str())
        .bind(count(tally.found))
        .bind(count(tally.changed))
        .bind(count(tally.unchanged))
        .bind(count(tally.failed))
        .bind(error.map(|text| text.chars().take(ERROR_LENGTH).collect::<String>()))
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Deletes runs older than [`KEPT`].
    pub(super) async fn forget_old(&self, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
        sqlx::query("delete from schedule_runs where started_at < $1")
            .bind(now - KEPT)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
