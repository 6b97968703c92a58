//! The writer's connection, and the way of one batch through it: lock, read, judge, write, commit, answer.

use super::batch::Batch;
use super::round_trip::{CONNECT_TIMEOUT, STEP_TIMEOUT, within};
use super::rows::Rows;
use super::state::read_state;
use super::verdict::WriterVerdict;
use crate::clock::Clock;
use crate::event_log::commit::{Commit, Committed};
use crate::event_log::error::{AppendError, LogError};
use crate::event_log::judge::Verdict;
use crate::event_log::recent::Recent;
use crate::failpoint::{Step, failpoint};
use crate::telemetry::chain;
use domain::Timestamp;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection, Executor, PgConnection};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How often a lost answer to a COMMIT is looked up before it is given up as unknown.
const LOOK_UP_TRIES: u32 = 5;
/// The pause between two such tries.
const LOOK_UP_PAUSE: Duration = Duration::from_millis(500);

/// The advisory lock of the log: its holder is the only writer.
pub(in crate::event_log) const LOCK: &str = "begin; select pg_advisory_xact_lock(7306066398)";

/// Makes PostgreSQL write new pages, as a full disk does not let it, and takes that back: into a table that the
/// service's role may write to and that nobody reads by these positions.
const PROBE: &str = "insert into parked (id, consumer, position, subject, reason, attempts) \
                     select gen_random_uuid(), 'the writer', -n, '', '', 0 from generate_series(1, 1000) n; rollback";

/// What keeps a stalled writer from blocking all others, and pins the plans: planned while the tables
/// were empty, the look-ups would stay sequential scans (20,900 → 2,500 commits a second, measured).
const SETTINGS: [(&str, &str); 8] = [
    ("lock_timeout", "4s"),
    ("statement_timeout", "6s"),
    ("idle_in_transaction_session_timeout", "6s"),
    ("tcp_user_timeout", "6s"),
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
];

/// The writer's own connection, opened again when it is lost.
pub(super) struct Session {
    connect: PgConnectOptions,
    connection: Option<PgConnection>,
    recent: Arc<Recent>,
    verdict: WriterVerdict,
}

impl Session {
    pub(super) fn new(connect: PgConnectOptions, recent: Arc<Recent>, verdict: WriterVerdict) -> Self {
        let connect = connect
            .application_name("offers writer")
            .options(SETTINGS)
            .statement_cache_capacity(8)
            .disable_statement_logging();
        Self { connect, connection: None, recent, verdict }
    }

    /// Begins the SQL transaction and takes the log's lock.
    pub(super) async fn lock(&mut self) -> Result<(), LogError> {
        let locked = match self.begin().await {
            Err(_) if self.connection.is_some() => {
                self.connection = None; // it may just have died of age: once more with a new one
                self.begin().await
            }
            locked => locked,
        };
        if let Err(cause) = &locked {
            self.connection = None;
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
            && let Some(mut connection) = self.connection.take()
        {
            let probed = within(STEP_TIMEOUT, connection.execute(PROBE)).await;
            match probed {
                Ok(_) => {
                    self.verdict.succeeded();
                    self.connection = Some(connection);
                }
                Err(cause) => self.verdict.failed(&cause),
            }
        }
    }

    async fn begin(&mut self) -> Result<(), LogError> {
        if self.connection.is_none() {
            self.recent.forget(); // a server that took over may not have what the lost one had
            let connecting = PgConnection::connect_with(&self.connect);
            self.connection = Some(within(CONNECT_TIMEOUT, connecting).await?);
        }
        let connection = self.connection.as_mut().expect("it was connected above");
        within(STEP_TIMEOUT, connection.execute(LOCK)).await?;
        Ok(())
    }

    /// Judges and writes `batch` and answers everyone in it; true when anything was written.
    pub(super) async fn write(&mut self, batch: Batch, clock: &Clock) -> bool {
        let Some(mut connection) = self.connection.take() else {
            batch.refuse(&LogError::unavailable("the writer has no connection"));
            return false;
        };
        let judged = match prepare(&mut connection, &batch, clock).await {
            Ok(judged) => judged,
            Err(cause) => {
                self.verdict.failed(&cause);
                batch.refuse(&cause); // the connection is dropped, and with it the SQL transaction
                return false;
            }
        };
        failpoint(Step::CommitWritten);
        let committed = within(STEP_TIMEOUT, connection.execute("commit")).await;
        failpoint(Step::CommitDone);
        let written = judged.written();
        match committed {
            Ok(_) => {
                if written > 0 {
                    self.verdict.succeeded(); // a full disk lets a transaction commit that has written nothing
                }
                self.connection = Some(connection);
                batch.answer(judged.answers(), &self.recent);
            }
            Err(cause) if written == 0 => {
                self.verdict.failed(&cause);
                batch.refuse(&cause);
            }
            Err(cause) => {
                self.verdict.failed(&cause);
                tracing::warn!(error = %chain(&cause), "the answer to a COMMIT was lost");
                drop(connection);
                let found = self.look_up(&judged).await;
                batch.answer(judged.answers_after_look_up(found.as_ref()), &self.recent);
            }
        }
        metrics::histogram!("offers_commit_batch_size").record(batch_size(written));
        written > 0
    }

    /// Which of the accepted commits are in the log. Takes the lock first, so that the old backend, if
    /// it still works on the COMMIT, has finished. `None` if that cannot be found out.
    async fn look_up(&mut self, judged: &Judged) -> Option<HashSet<Uuid>> {
        let ids: Vec<Uuid> = judged.accepted_ids().collect();
        for _ in 0..LOOK_UP_TRIES {
            self.connection = None;
            if self.begin().await.is_ok()
                && let Some(mut connection) = self.connection.take()
            {
                let query =
                    sqlx::query_scalar("select event_id from events where event_id = any($1)").bind(&ids);
                if let Ok(found) = within(STEP_TIMEOUT, query.fetch_all(&mut connection)).await {
                    return Some(found.into_iter().collect());
                }
            }
            tokio::time::sleep(LOOK_UP_PAUSE).await;
        }
        None
    }
}

fn batch_size(commits: usize) -> f64 {
    f64::from(u32::try_from(commits).unwrap_or(u32::MAX))
}

/// A judged batch, written but not committed.
struct Judged {
    verdicts: Vec<Verdict>,
    first_ids: Vec<Option<Uuid>>,
    recorded_at: Timestamp,
}

impl Judged {
    fn written(&self) -> usize {
        self.verdicts.iter().filter(|verdict| matches!(verdict, Verdict::Accepted { .. })).count()
    }

    fn accepted_ids(&self) -> impl Iterator<Item = Uuid> {
        let accepted = |(verdict, id): (&Verdict, &Option<Uuid>)| match verdict {
            Verdict::Accepted { .. } => *id,
            _ => None,
        };
        self.verdicts.iter().zip(&self.first_ids).filter_map(accepted)
    }

    fn answers(self) -> Vec<Result<Committed, AppendError>> {
        let recorded_at = self.recorded_at;
        self.verdicts.into_iter().map(|verdict| answer(verdict, recorded_at)).collect()
    }

    /// Accepted ones that are in the log stand; those that are not were rolled back; refusals were
    /// judged on a state that may not have come about, so they count as not reached.
    fn answers_after_look_up(self, found: Option<&HashSet<Uuid>>) -> Vec<Result<Committed, AppendError>> {
        let recorded_at = self.recorded_at;
        let judged = self.verdicts.into_iter().zip(self.first_ids);
        judged
            .map(|(verdict, id)| match (found, id) {
                (None, _) => Err(LogError::OutcomeUnknown.into()),
                (Some(found), Some(id)) if found.contains(&id) => answer(verdict, recorded_at),
                (Some(_), _) => Err(LogError::unavailable("the commit was rolled back").into()),
            })
            .collect()
    }
}

fn answer(verdict: Verdict, recorded_at: Timestamp) -> Result<Committed, AppendError> {
    match verdict {
        Verdict::Accepted { first, last, balances } => Ok(Committed { first, last, recorded_at, balances }),
        Verdict::Repeated(event_id) => Err(AppendError::Repeated(event_id)),
        Verdict::Conflict(stream) => Err(AppendError::Conflict(stream)),
        Verdict::InsufficientFunds(account) => Err(AppendError::InsufficientFunds(account)),
        Verdict::BalanceTooLarge(account) => Err(AppendError::BalanceTooLarge(account)),
    }
}

/// Reads the state, judges, and writes what is accepted.
async fn prepare(connection: &mut PgConnection, batch: &Batch, clock: &Clock) -> Result<Judged, LogError> {
    let (mut state, last_recorded_at) = read_state(connection, batch).await?;
    let recorded_at = last_recorded_at.map_or(clock.now(), |last| last.max(clock.now()));
    let verdicts: Vec<Verdict> = batch.commits().map(|commit| state.judge(commit)).collect();
    let rows = Rows::of(batch.commits().zip(&verdicts));
    if !rows.is_empty() {
        rows.write(connection, recorded_at).await?;
    }
    let first_ids = batch.commits().map(Commit::first_event_id).collect();
    Ok(Judged { verdicts, first_ids, recorded_at })
}
