//! The way of one batch through the writer's connection: lock, read, judge, write, commit, answer.

use super::batch::Batch;
use super::judged::Judged;
use super::memory::Memory;
use super::open::Open;
use super::round_trip::{CONNECT_TIMEOUT, STEP_TIMEOUT, within};
use super::verdict::WriterVerdict;
use crate::clock::Clock;
use crate::event_log::error::LogError;
use crate::event_log::recent::Recent;
use crate::failpoint::{Step, failpoint};
use crate::telemetry::chain;
use sqlx::Executor;
use sqlx::postgres::PgConnectOptions;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How often a lost answer to a COMMIT is looked up before it is given up as unknown.
const LOOK_UP_TRIES: u32 = 5;
/// The pause between two such tries.
const LOOK_UP_PAUSE: Duration = Duration::from_millis(500);

/// Makes PostgreSQL write new pages, as a full disk does not let it, and takes that back: into a table that the
/// service's role may write to and that nobody reads by these positions.
const PROBE: &str = "insert into parked (id, consumer, position, subject, reason, attempts) \
                     select gen_random_uuid(), 'the writer', -n, '', '', 0 from generate_series(1, 1000) n; rollback";

/// Which of these events are in the log.
const LOOK_UP: &str = "select event_id from events \
                       join unnest($1::bigint[], $2::uuid[]) as accepted (position, event_id) using (position, event_id)";

/// The writer's own connection, opened again when it is lost.
pub(super) struct Session {
    connect: PgConnectOptions,
    open: Option<Open>,
    recent: Arc<Recent>,
    verdict: WriterVerdict,
}

impl Session {
    pub(super) fn new(connect: PgConnectOptions, recent: Arc<Recent>, verdict: WriterVerdict) -> Self {
        Self { connect: Open::options(connect), open: None, recent, verdict }
    }

    /// Begins the SQL transaction and takes the log's lock.
    pub(super) async fn lock(&mut self) -> Result<(), LogError> {
        let locked = match self.begin().await {
            Err(_) if self.open.is_some() => {
                self.open = None; // it may just have died of age: once more with a new one
                self.begin().await
            }
            locked => locked,
        };
        if let Err(cause) = &locked {
            self.open = None;
            self.verdict.failed(cause);
        }
        locked
    }

    /// Whether the last write failed.
    pub(super) fn has_failed(&self) -> bool {
        self.verdict.failure().is_some()
    }

    /// Tries whether writing works again, and changes nothing: the transaction is rolled back.
    pub(super) async fn probe(&mut self) {
        if self.lock().await.is_ok()
            && let Some(mut open) = self.open.take()
        {
            let probed = within(STEP_TIMEOUT, open.connection.execute(PROBE)).await;
            match probed {
                Ok(_) => {
                    self.verdict.succeeded();
                    self.open = Some(open);
                }
                Err(cause) => self.verdict.failed(&cause),
            }
        }
    }

    async fn begin(&mut self) -> Result<(), LogError> {
        let mut open = match self.open.take() {
            Some(open) => open,
            None => {
                self.recent.forget(); // a server that took over may not have what the lost one had
                within(CONNECT_TIMEOUT, Open::new(&self.connect)).await?
            }
        };
        let begun = open.begin().await;
        self.open = Some(open);
        begun
    }

    /// Judges and writes `batch` and answers everyone in it; true when anything was written.
    pub(super) async fn write(&mut self, mut batch: Batch, clock: &Clock) -> bool {
        let (mut open, judged) = match self.prepare(&mut batch, clock).await {
            Ok(prepared) => prepared,
            Err(cause) => {
                self.verdict.failed(&cause);
                batch.refuse(&cause); // the connection is dropped, and with it the SQL transaction
                return false;
            }
        };
        failpoint(Step::CommitWritten);
        let committed = within(STEP_TIMEOUT, open.connection.execute("commit")).await;
        failpoint(Step::CommitDone);
        let written = judged.written();
        match committed {
            Ok(_) => {
                if let Some(last) = judged.last_event_id {
                    self.verdict.succeeded(); // a full disk lets a transaction commit that has written nothing
                    open.memory.committed(last);
                }
                self.open = Some(open);
                batch.answer(judged.answers(), &self.recent);
            }
            Err(cause) if written == 0 => {
                self.verdict.failed(&cause);
                batch.refuse(&cause);
            }
            Err(cause) => {
                self.verdict.failed(&cause);
                tracing::warn!(error = %chain(&cause), "the answer to a COMMIT was lost");
                drop(open);
                let found = self.look_up(&judged).await;
                batch.answer(judged.answers_after_look_up(found.as_ref()), &self.recent);
            }
        }
        metrics::histogram!("offers_commit_batch_size").record(batch_size(written));
        written > 0
    }

    /// Judges and writes `batch`, for the COMMIT. If something counted as new that is in the log, it is done once
    /// more, knowing everything.
    async fn prepare(&mut self, batch: &mut Batch, clock: &Clock) -> Result<(Open, Judged), LogError> {
        let mut open = self.take_open()?;
        match open.prepare(batch, clock).await {
            Err(cause) if open.memory.has_assumed() && is_unique_violation(&cause) => {
                within(STEP_TIMEOUT, open.connection.execute("rollback")).await?;
                open.memory = Memory::default();
                self.open = Some(open);
                self.begin().await?;
                let mut open = self.take_open()?;
                let judged = open.prepare(batch, clock).await?;
                Ok((open, judged))
            }
            judged => Ok((open, judged?)),
        }
    }

    fn take_open(&mut self) -> Result<Open, LogError> {
        self.open.take().ok_or_else(|| LogError::unavailable("the writer has no connection"))
    }

    /// Which of the accepted commits are in the log. Takes the lock first, so that the old backend, if
    /// it still works on the COMMIT, has finished. `None` if that cannot be found out.
    async fn look_up(&mut self, judged: &Judged) -> Option<HashSet<Uuid>> {
        let (positions, ids): (Vec<i64>, Vec<Uuid>) = judged.accepted().unzip();
        for _ in 0..LOOK_UP_TRIES {
            self.open = None;
            if self.begin().await.is_ok()
                && let Some(mut open) = self.open.take()
            {
                let query = sqlx::query_scalar(LOOK_UP).bind(&positions).bind(&ids);
                if let Ok(found) = within(STEP_TIMEOUT, query.fetch_all(&mut open.connection)).await {
                    return Some(found.into_iter().collect());
                }
            }
            tokio::time::sleep(LOOK_UP_PAUSE).await;
        }
        None
    }
}

fn is_unique_violation(cause: &LogError) -> bool {
    let LogError::Unavailable(cause) = cause else { return false };
    let cause = cause.downcast_ref::<sqlx::Error>().and_then(sqlx::Error::as_database_error);
    cause.is_some_and(sqlx::error::DatabaseError::is_unique_violation)
}

fn batch_size(commits: usize) -> f64 {
    f64::from(u32::try_from(commits).unwrap_or(u32::MAX))
}
