//! Follows the log into the read tables, and rebuilds tables that are not whole while the service runs.
//!
//! Tables that have lost rows, or are of another log, are put aside, so that lists are refused instead of being short.
//! New ones are made in the schema of a rebuild and take their place when they have come to the head of the log.

use super::{NEXT, ReadTables};
use crate::Error;
use crate::checkpoint::ReadCheckpoint;
use domain::{History, Recorded};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;
use std::fmt;
use std::sync::Arc;

/// How far behind the head of the log, in events, new tables may take their place: three pages, because while the log
/// grows they are never at its end.
const NEAR_HEAD: i64 = 3_000;

/// The writer of the live tables.
#[derive(Clone)]
pub struct TableProjector {
    live: ReadTables,
    connect: PgConnectOptions,
    history: Arc<dyn History>,
    rebuild: Option<InPlace>,
    /// There may be tables that were put aside and can be dropped.
    has_old: bool,
}

/// A rebuild of tables that are put aside.
#[derive(Clone)]
struct InPlace {
    next: ReadTables,
    /// The head of the log when it began: a client may have seen lists up to there.
    target: i64,
}

impl TableProjector {
    /// Writes on connections of its own, made like `connect` when first needed. `checkpoint` is the process's own.
    #[must_use]
    pub fn new(connect: &PgConnectOptions, checkpoint: ReadCheckpoint, history: Arc<dyn History>) -> Self {
        let live = ReadTables::live(connect, checkpoint);
        Self { live, connect: connect.clone(), history, rebuild: None, has_old: true }
    }

    /// Where to go on: in the live tables if they are whole, else in those that will take their place.
    ///
    /// # Errors
    /// `Database`, `History`: ask again.
    pub async fn checkpoint(&mut self) -> Result<i64, Error> {
        let why = match self.live.whole(&*self.history).await {
            Ok(at) => {
                self.rebuild = None;
                self.live.checkpoint.reached(at.position);
                return Ok(at.position);
            }
            Err(Error::Lost(why)) => why,
            Err(cause) => return Err(cause),
        };
        if let Some(rebuild) = &self.rebuild {
            match rebuild.next.whole(&*self.history).await {
                Ok(at) => return Ok(at.position),
                Err(Error::Lost(_)) => {}
                Err(cause) => return Err(cause),
            }
        }
        self.begin(why).await?;
        Ok(0)
    }

    /// Takes the page that starts right after the checkpoint, whole or not at all.
    ///
    /// # Errors
    /// As `ReadTables::apply`; `Broken` also for a page that new tables cannot take. After any of them ask for the
    /// checkpoint.
    pub async fn apply(&mut self, events: &[Recorded]) -> Result<(), Error> {
        let Some(rebuild) = &self.rebuild else {
            let applied = self.live.apply(events).await;
            if matches!(applied, Err(Error::Lost(_))) {
                self.live.discard(self.live.stored().await.ok()).await?;
            }
            return applied;
        };
        let (Some(first), Some(last)) = (events.first(), events.last()) else { return Ok(()) };
        match rebuild.next.apply(events).await {
            Ok(()) => self.switch_at(last.position).await,
            // They were made from the log alone, so another rebuild would come to the same.
            Err(Error::Lost(why)) if rebuild.next.whole(&*self.history).await.is_ok() => {
                Err(Error::Broken { position: first.position, why })
            }
            Err(cause) => Err(cause),
        }
    }

    /// Makes sure that the tables are whole and still stand at `position`, for times when nothing happens.
    ///
    /// # Errors
    /// `Lost` and `Overtaken`: ask for the checkpoint.
    pub async fn still_at(&mut self, position: i64) -> Result<(), Error> {
        if self.rebuild.is_some() {
            return self.switch_at(position).await;
        }
        if self.live.whole(&*self.history).await?.position != position {
            return Err(Error::Overtaken { expected: position });
        }
        if self.has_old {
            self.drop_old().await;
        }
        Ok(())
    }

    async fn begin(&mut self, why: &str) -> Result<(), Error> {
        tracing::error!(why, "rebuilding the read tables; lists are refused until they are whole: {why}");
        let target = self.history.head().await.map_err(Error::History)?;
        self.live.discard(self.live.stored().await.ok()).await?;
        self.live.connection.execute(sqlx::query("select public.create_next_read_tables()")).await?;
        // Waiters wait for the live tables.
        let unread = ReadCheckpoint::new(PgPool::connect_lazy_with(self.connect.clone()));
        let next = ReadTables::of(NEXT, &self.connect, unread);
        self.rebuild = Some(InPlace { next, target });
        Ok(())
    }

    /// Puts the new tables, which are at `position`, in the place of the live ones if they are near the head.
    async fn switch_at(&mut self, position: i64) -> Result<(), Error> {
        let Some(InPlace { target, .. }) = self.rebuild else { return Ok(()) };
        let head = self.history.head().await.map_err(Error::History)?;
        if position < target.min(head) || position < head - NEAR_HEAD {
            return Ok(());
        }
        let switched = self.live.says(sqlx::query("select public.switch_read_tables()")).await?;
        self.rebuild = None;
        if !switched {
            return Err(Error::Overtaken { expected: position });
        }
        self.live.checkpoint.reached(position);
        tracing::info!(position, "the read tables are rebuilt");
        self.drop_old().await;
        Ok(())
    }

    /// Drops what was put aside. What a long snapshot reads is left for a time when nothing happens.
    async fn drop_old(&mut self) {
        match self.live.says(sqlx::query("select public.drop_read_tables_aside()")).await {
            Ok(are_all_gone) => self.has_old = !are_all_gone,
            Err(cause) => {
                self.has_old = true;
                tracing::debug!(error = %cause, "cannot drop the old read tables; retrying");
            }
        }
    }
}

impl fmt::Debug for TableProjector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableProjector").field("live", &self.live).finish_non_exhaustive()
    }
}
