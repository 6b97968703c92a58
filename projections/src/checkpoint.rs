//! How far are the read tables? Known at once in the process that writes them, and by asking the
//! table in any other.

use crate::Error;
use sqlx::{PgPool, Row};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, timeout, timeout_at};

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
    /// Held by the one waiter who asks for all; when the table was last asked.
    asked: Mutex<Option<Instant>>,
}

impl ReadCheckpoint {
    /// Asks through `pool` when it has to.
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self(Arc::new(Inner { pool, known: watch::channel(0).0, asked: Mutex::new(None) }))
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
    pub async fn read(&self) -> Result<i64, Error> {
        let row = sqlx::query("select position from read.checkpoint").fetch_one(&self.0.pool).await?;
        let position = row.try_get("position")?;
        self.reached(position);
        Ok(position)
    }

    /// Waits until the read tables contain the event at `position`, at most until `deadline`.
    ///
    /// # Errors
    /// `Behind` when they do not by then.
    pub async fn wait_for(&self, position: i64, deadline: Instant) -> Result<(), Error> {
        let began = Instant::now();
        timeout_at(deadline, self.reach(position))
            .await
            .map_err(|_| Error::Behind { position, waited: began.elapsed() })
    }

    async fn reach(&self, position: i64) {
        let mut known = self.0.known.subscribe();
        let mut pause = FIRST_POLL;
        loop {
            let reached = timeout(pause, known.wait_for(|known| *known >= position)).await.is_ok();
            if reached {
                return;
            }
            self.ask_for_all().await;
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
        self.0.known.send_if_modified(|known| {
            let further = position > *known;
            *known = position.max(*known);
            further
        });
    }
}
