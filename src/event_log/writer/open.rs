//! The writer's connection while it is open.

use super::batch::Batch;
use super::judged::Judged;
use super::memory::{Head, Memory};
use super::round_trip::{STEP_TIMEOUT, within};
use super::rows::Rows;
use crate::clock::Clock;
use crate::event_log::commit::Commit;
use crate::event_log::error::LogError;
use domain::Timestamp;
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{ConnectOptions, Connection, Executor, PgConnection, Row};

macro_rules! lock {
    () => {
        "begin; select pg_advisory_xact_lock(7306066398)"
    };
}

/// The advisory lock of the log: its holder is the only writer.
pub(in crate::event_log) const LOCK: &str = lock!();

/// The same, and then the log's last event: each of the statements sees what was committed before it.
const LOCK_AND_HEAD: &str = concat!(lock!(), "; execute log_head");
/// The columns of its row; the one of the lock has one.
const HEAD_COLUMNS: usize = 3;
const PREPARE_HEAD: &str = "prepare log_head as \
                            select position, event_id, recorded_at from events order by position desc limit 1";

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

/// Statements that the connection keeps prepared.
const STATEMENTS: usize = 8;

/// A connection, and what is known of the log over it.
pub(super) struct Open {
    pub(super) connection: PgConnection,
    pub(super) memory: Memory,
    /// When the log's last event was recorded.
    last_recorded_at: Option<Timestamp>,
}

impl Open {
    pub(super) fn options(connect: PgConnectOptions) -> PgConnectOptions {
        let connect = connect.application_name("offers writer").options(SETTINGS);
        connect.statement_cache_capacity(STATEMENTS).disable_statement_logging()
    }

    pub(super) async fn new(connect: &PgConnectOptions) -> Result<Self, sqlx::Error> {
        let mut connection = PgConnection::connect_with(connect).await?;
        connection.execute(PREPARE_HEAD).await?;
        Ok(Self { connection, memory: Memory::default(), last_recorded_at: None })
    }

    /// Begins the SQL transaction, takes the log's lock and looks at its end.
    pub(super) async fn begin(&mut self) -> Result<(), LogError> {
        let rows = within(STEP_TIMEOUT, self.connection.fetch_all(LOCK_AND_HEAD)).await?;
        let head = rows.iter().find(|row| row.len() == HEAD_COLUMNS).map(head).transpose()?;
        self.last_recorded_at = head.map(|head| head.recorded_at);
        self.memory.continue_from(head);
        Ok(())
    }

    /// Judges `batch` and writes what is accepted.
    pub(super) async fn prepare(&mut self, batch: &mut Batch, clock: &Clock) -> Result<Judged, LogError> {
        let recorded_at = self.last_recorded_at.map_or(clock.now(), |last| last.max(clock.now()));
        let verdicts = self.memory.judge(batch, &mut self.connection).await?;
        let rows = Rows::of(batch.commits().zip(&verdicts));
        let last_event_id = rows.last_event_id();
        if last_event_id.is_some() {
            rows.write(&mut self.connection, recorded_at).await?;
        }
        let first_ids = batch.commits().map(Commit::first_event_id).collect();
        Ok(Judged { verdicts, first_ids, last_event_id, recorded_at })
    }
}

fn head(row: &PgRow) -> Result<Head, sqlx::Error> {
    let recorded_at = Timestamp::new(row.try_get(2)?);
    Ok(Head { position: row.try_get(0)?, event_id: row.try_get(1)?, recorded_at })
}
