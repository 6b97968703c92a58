//! How far are the read tables? Known at once in the process that writes them, and by asking the
//! table in any other.

use crate::Error;
use crate::readers::answered;
use domain::Checkpoint;
use sqlx::postgres::PgRow;
use sqlx::{PgPool, Row};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout, timeout_at};
use uuid::Uuid;

/// How often the table is asked while anybody waits; one question for all of a process.
const POLL: Duration = Duration::from_millis(50);
/// How long a writer in the same process is given before the table is asked for the first time.
const FIRST_POLL: Duration = Duration::from_millis(5);

/// The read tables' checkpoint as this process knows it. Cheap to clone; one for each process.
#[derive(Clone, Debug)]
pub struct ReadCheckpoint(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: PgPool,
    known: watch::Sender<i64>,
    /// There are no tables until they are rebuilt.
    is_lost: AtomicBool,
    /// Held by the one waiter who asks for all; when the table was last asked.
    asked: Mutex<Option<Instant>>,
}

/// What a wait makes of tables that are lost.
#[derive(Clone, Copy)]
enum Lost {
    MayComeBack,
    EndsTheWait,
}

impl ReadCheckpoint {
    /// Asks through `pool` when it has to.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self(Arc::new(Inner {
            pool,
            known: watch::channel(0).0,
            is_lost: AtomicBool::new(false),
            asked: Mutex::new(None),
        }))
    }

    /// The furthest position that this process has heard of; the tables may be further.
    #[must_use]
    pub fn known(&self) -> i64 {
        *self.0.known.borrow()
    }

    /// Follows every move that this process hears of.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<i64> {
        self.0.known.subscribe()
    }

    /// Asks the table.
    ///
    /// # Errors
    /// `Lost` while the tables are rebuilt; `Database`.
    pub async fn read(&self) -> Result<i64, Error> {
        let query = sqlx::query("select position, event_id from read.checkpoint");
        match from_row(answered(query.fetch_optional(&self.0.pool)).await) {
            Ok(at) => {
                self.reached(at.position);
                Ok(at.position)
            }
            Err(cause) => {
                if matches!(cause, Error::Lost(_)) {
                    self.lost();
                }
                Err(cause)
            }
        }
    }

    /// Whether there were no read tables when this process last heard of them.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.0.is_lost.load(Ordering::Relaxed)
    }

    /// Waits until the read tables contain the event at `position`, at most until `deadline`.
    ///
    /// # Errors
    /// `Behind` when they do not by then.
    pub async fn wait_for(&self, position: i64, deadline: Instant) -> Result<(), Error> {
        self.wait(position, deadline, Lost::MayComeBack).await
    }

    /// As `wait_for`, but does not wait while there are no tables.
    ///
    /// # Errors
    /// `Lost` when there are none; `Behind`.
    pub async fn wait_unless_lost(&self, position: i64, deadline: Instant) -> Result<(), Error> {
        self.wait(position, deadline, Lost::EndsTheWait).await
    }

    async fn wait(&self, position: i64, deadline: Instant, lost: Lost) -> Result<(), Error> {
        let began = Instant::now();
        timeout_at(deadline, self.reach(position, lost))
            .await
            .unwrap_or_else(|_| Err(Error::Behind { position, waited: began.elapsed() }))
    }

    async fn reach(&self, position: i64, lost: Lost) -> Result<(), Error> {
        let mut known = self.0.known.subscribe();
        let mut pause = FIRST_POLL;
        loop {
            let reached = timeout(pause, known.wait_for(|known| *known >= position)).await.is_ok();
            if reached {
                return Ok(());
            }
            self.ask_for_all().await;
            if self.is_lost() && matches!(lost, Lost::EndsTheWait) {
                return Err(Error::Lost("they are not there"));
            }
            pause = POLL;
        }
    }

    /// Asks the table unless another waiter is asking or just has. If PostgreSQL does not answer, that is not
    /// reported here: the tables then count as behind.
    async fn ask_for_all(&self) {
        let Ok(mut asked) = self.0.asked.try_lock() else { return };
        if asked.is_some_and(|last| last.elapsed() < POLL) {
            return;
        }
        if let Err(cause) = self.read().await {
            tracing::debug!(error = %cause, "cannot read the read tables' checkpoint; retrying");
        }
        *asked = Some(Instant::now());
    }

    /// The tables have come to `position`.
    pub(crate) fn reached(&self, position: i64) {
        self.0.is_lost.store(false, Ordering::Relaxed);
        self.0.known.send_if_modified(|known| {
            let further = position > *known;
            *known = position.max(*known);
            further
        });
    }

    /// There are no tables: those that come may be of another log, so nothing is known of them.
    pub(crate) fn lost(&self) {
        self.0.is_lost.store(true, Ordering::Relaxed);
        self.0.known.send_replace(0);
    }
}

/// The checkpoint in the row that was found.
pub(crate) fn from_row(found: Result<Option<PgRow>, sqlx::Error>) -> Result<Checkpoint, Error> {
    let row = found.map_err(missing_tables)?.ok_or(Error::Lost("they have no checkpoint"))?;
    let event_id: Option<Uuid> = row.try_get("event_id")?;
    let event_id = event_id.ok_or(Error::Lost("their checkpoint names no event"))?;
    Ok(Checkpoint { position: row.try_get("position")?, event_id })
}

/// PostgreSQL's codes for a table and a schema that do not exist.
const MISSING: [&str; 2] = ["42P01", "3F000"];

/// Names the error of a statement that did not find its table.
pub(crate) fn missing_tables(cause: sqlx::Error) -> Error {
    let code = cause.as_database_error().and_then(sqlx::error::DatabaseError::code);
    match code.is_some_and(|code| MISSING.contains(&&*code)) {
        true => Error::Lost("a table is missing"),
        false => Error::Database(cause),
    }
}
