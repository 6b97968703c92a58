//! One batch through the database: lock, read, judge, write, commit, answer.

use super::Waiting;
use crate::clock::Clock;
use crate::event_log::commit::{Commit, Committed, StreamId};
use crate::event_log::error::{AppendError, LogError};
use crate::event_log::judge::{State, Verdict};
use domain::{AccountId, Money, Timestamp};
use rust_decimal::Decimal;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, Row};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;
use uuid::Uuid;

/// How long a step (one round trip) may take before the connection is given up. Longer than the
/// server's own timeouts, so that the server speaks first.
const STEP_TIMEOUT: Duration = Duration::from_secs(8);
/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a lost answer to a COMMIT is looked up before it is given up as unknown.
const LOOK_UP_TRIES: u32 = 5;
/// The pause between two such tries.
const LOOK_UP_PAUSE: Duration = Duration::from_millis(500);

/// The advisory lock of the log: whoever holds it is the only writer.
const LOCK: &str = "begin; select pg_advisory_xact_lock(7306066398)";

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

/// The commits of one SQL transaction with those who wait for them.
pub(super) struct Batch {
    waiting: Vec<Waiting>,
}

impl Batch {
    pub(super) fn new(waiting: Vec<Waiting>) -> Self {
        Self { waiting }
    }

    fn commits(&self) -> impl Iterator<Item = &Commit> {
        self.waiting.iter().map(|waiting| &waiting.commit)
    }

    fn answer(self, verdicts: Vec<Result<Committed, AppendError>>) {
        for (waiting, verdict) in self.waiting.into_iter().zip(verdicts) {
            let _ = waiting.answer.send(verdict); // a caller that left wants no answer
        }
    }

    fn refuse(self, cause: &LogError) {
        super::refuse_all(self.waiting, cause);
    }
}

/// The writer's own connection, made again whenever it is lost.
pub(super) struct Session {
    connect: PgConnectOptions,
    connection: Option<PgConnection>,
}

impl Session {
    pub(super) fn new(connect: PgConnectOptions) -> Self {
        let connect = connect
            .application_name("offers writer")
            .options(SETTINGS)
            .statement_cache_capacity(8)
            .disable_statement_logging();
        Self { connect, connection: None }
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
        if locked.is_err() {
            self.connection = None;
        }
        locked
    }

    async fn begin(&mut self) -> Result<(), LogError> {
        if self.connection.is_none() {
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
                batch.refuse(&cause); // the connection is dropped, and with it the SQL transaction
                return false;
            }
        };
        let committed = within(STEP_TIMEOUT, connection.execute("commit")).await;
        let written = judged.written();
        match committed {
            Ok(_) => {
                self.connection = Some(connection);
                batch.answer(judged.answers());
            }
            Err(cause) if written == 0 => batch.refuse(&cause),
            Err(cause) => {
                tracing::warn!(error = %super::describe(&cause), "the answer to a COMMIT was lost");
                drop(connection);
                let found = self.look_up(&judged).await;
                batch.answer(judged.answers_after_look_up(found.as_ref()));
            }
        }
        metrics::histogram!("offers_commit_batch_size").record(batch_size(written));
        written > 0
    }

    /// Which of the accepted commits are in the log. Takes the lock first, so that the old backend, if
    /// it still works on the COMMIT, has finished. `None`: could not be found out.
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
    if !rows.positions.is_empty() {
        rows.write(connection, recorded_at).await?;
    }
    let first_ids = batch.commits().map(Commit::first_event_id).collect();
    Ok(Judged { verdicts, first_ids, recorded_at })
}

/// The state that `batch` touches, and when the last event was recorded.
async fn read_state(
    connection: &mut PgConnection,
    batch: &Batch,
) -> Result<(State, Option<Timestamp>), LogError> {
    let asked = Asked::by(batch);
    let (types, ids): (Vec<&str>, Vec<String>) =
        asked.streams.iter().map(|stream| (stream.aggregate_type, stream.aggregate_id.to_string())).unzip();
    let accounts: Vec<Uuid> = asked.accounts.iter().map(|account| account.0).collect();
    let query = sqlx::query(include_str!("../read_state.sql"))
        .bind(types)
        .bind(ids)
        .bind(accounts)
        .bind(&asked.events);
    let rows = within(STEP_TIMEOUT, query.fetch_all(connection)).await?;
    asked.state(&rows).map_err(LogError::from)
}

/// What a batch wants to know, each thing once.
struct Asked {
    streams: Vec<StreamId>,
    accounts: Vec<AccountId>,
    events: Vec<Uuid>,
}

impl Asked {
    fn by(batch: &Batch) -> Self {
        let mut streams = HashSet::new();
        let mut accounts = HashSet::new();
        let mut events = HashSet::new();
        for commit in batch.commits() {
            streams.extend(commit.writes.iter().map(|write| write.stream));
            streams.extend(commit.unchanged.iter().map(|(stream, _)| *stream));
            accounts.extend(commit.entries.iter().map(|(account, _)| *account));
            events.extend(commit.first_event_id().filter(|_| commit.repeatable));
        }
        Self {
            streams: streams.into_iter().collect(),
            accounts: accounts.into_iter().collect(),
            events: events.into_iter().collect(),
        }
    }

    /// The answer's rows (see `read_state.sql`) as a state.
    fn state(&self, rows: &[PgRow]) -> Result<(State, Option<Timestamp>), sqlx::Error> {
        let mut state = State { versions: HashMap::with_capacity(self.streams.len()), ..State::default() };
        let mut recorded_at = None;
        for row in rows {
            let ord: i64 = row.try_get(1)?;
            let index = usize::try_from(ord - 1).unwrap_or_default();
            match row.try_get::<i16, _>(0)? {
                0 => {
                    state.head = row.try_get(2)?;
                    recorded_at = Some(Timestamp::new(row.try_get(4)?));
                }
                1 => {
                    state.versions.insert(self.streams[index], row.try_get(2)?);
                }
                2 => {
                    let balance: Decimal = row.try_get(3)?;
                    let balance =
                        Money::try_from(balance).map_err(|cause| sqlx::Error::Decode(cause.into()))?;
                    state.balances.insert(self.accounts[index], balance);
                }
                _ => {
                    state.known_events.insert(self.events[index]);
                }
            }
        }
        Ok((state, recorded_at))
    }
}

/// The columns of what is written, one element an event.
#[derive(Default)]
struct Rows<'a> {
    positions: Vec<i64>,
    event_ids: Vec<Uuid>,
    aggregate_types: Vec<&'a str>,
    aggregate_ids: Vec<String>,
    sequences: Vec<i64>,
    event_types: Vec<&'a str>,
    event_versions: Vec<&'a str>,
    payloads: Vec<&'a str>,
    metadata: Vec<&'a str>,
    commit_ends: Vec<i64>,
    /// The last balance of each account that the batch moves.
    balances: BTreeMap<AccountId, Money>,
}

impl<'a> Rows<'a> {
    fn of(judged: impl Iterator<Item = (&'a Commit, &'a Verdict)>) -> Self {
        let mut rows = Self::default();
        for (commit, verdict) in judged {
            if let Verdict::Accepted { first, last, balances } = verdict {
                rows.push(commit, *first, *last);
                rows.balances.extend(balances.iter().copied());
            }
        }
        rows
    }

    fn push(&mut self, commit: &'a Commit, first: i64, last: i64) {
        let mut positions = first..;
        for write in &commit.writes {
            for (event, sequence) in write.events.iter().zip(write.expected_version + 1..) {
                self.positions.extend(positions.next());
                self.event_ids.push(event.event_id);
                self.aggregate_types.push(write.stream.aggregate_type);
                self.aggregate_ids.push(write.stream.aggregate_id.to_string());
                self.sequences.push(sequence);
                self.event_types.push(&event.event_type);
                self.event_versions.push(&event.event_version);
                self.payloads.push(&event.payload);
                self.metadata.push(&commit.metadata);
                self.commit_ends.push(last);
            }
        }
    }

    async fn write(self, connection: &mut PgConnection, recorded_at: Timestamp) -> Result<(), LogError> {
        let (accounts, balances): (Vec<Uuid>, Vec<Decimal>) =
            self.balances.iter().map(|(account, balance)| (account.0, balance.decimal())).unzip();
        let query = sqlx::query(include_str!("../write_batch.sql"))
            .bind(self.positions)
            .bind(self.event_ids)
            .bind(self.aggregate_types)
            .bind(self.aggregate_ids)
            .bind(self.sequences)
            .bind(self.event_types)
            .bind(self.event_versions)
            .bind(self.payloads)
            .bind(self.metadata)
            .bind(recorded_at.utc())
            .bind(self.commit_ends)
            .bind(accounts)
            .bind(balances);
        within(STEP_TIMEOUT, query.execute(connection)).await?;
        Ok(())
    }
}

/// One round trip with its bound.
async fn within<T>(
    limit: Duration,
    step: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, LogError> {
    match tokio::time::timeout(limit, step).await {
        Ok(done) => done.map_err(LogError::from),
        Err(_) => Err(LogError::unavailable("PostgreSQL did not answer in time")),
    }
}
