//! Which hashes may be served? Those of a Redis that is at a place in this log, and no further back than what this
//! process has served before.
//!
//! The log may have been restored from an older copy while Redis kept what was lost. So the checkpoint in Redis
//! is compared with the log: not for each request, but again and again, because the log may be replaced while
//! this process runs.

use crate::history::contains;
use domain::{Checkpoint, History};
use parking_lot::Mutex;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// A confirmed checkpoint, and those that follow it, are not compared again for this long.
const CONFIRMED_FOR: Duration = Duration::from_secs(1);
/// How long a request waits for the log.
const LOG_TIMEOUT: Duration = Duration::from_millis(500);

pub(super) struct Trust {
    history: Arc<dyn History>,
    /// This process has served statuses up to this position. If Redis is behind it, Redis has lost data,
    /// and its hashes would make a status go back.
    newest_served: AtomicI64,
    confirmed: Mutex<Option<Confirmed>>,
    /// When the log was last asked whether it still has the newest position that was served.
    newest_asked: Mutex<Option<Instant>>,
}

#[derive(Clone, Copy)]
struct Confirmed {
    position: i64,
    /// When the log was last asked.
    at: Instant,
}

impl Trust {
    pub(super) fn new(history: Arc<dyn History>) -> Self {
        Self {
            history,
            newest_served: AtomicI64::new(0),
            confirmed: Mutex::new(None),
            newest_asked: Mutex::new(None),
        }
    }

    /// Whether a hash may be served that was read together with `checkpoint`.
    pub(super) async fn allows(&self, checkpoint: Checkpoint) -> bool {
        if !self.is_confirmed(checkpoint.position) && !self.confirm(checkpoint).await {
            return false;
        }
        let newest = self.newest_served.fetch_max(checkpoint.position, Ordering::Relaxed);
        if checkpoint.position < newest {
            self.forget_another_history(newest, checkpoint.position).await;
            return false;
        }
        true
    }

    /// A status at `position` was served that Redis may not contain.
    pub(super) fn served(&self, position: i64) {
        self.newest_served.fetch_max(position, Ordering::Relaxed);
    }

    pub(super) fn newest_served(&self) -> i64 {
        self.newest_served.load(Ordering::Relaxed)
    }

    /// Whether a checkpoint was confirmed a moment ago, or is being confirmed.
    pub(super) fn is_fresh(&self) -> bool {
        self.confirmed.lock().is_some_and(|last| last.at.elapsed() < CONFIRMED_FOR)
    }

    /// Whether this was confirmed a moment ago. Of several requests, one asks the log again.
    fn is_confirmed(&self, position: i64) -> bool {
        let mut confirmed = self.confirmed.lock();
        let Some(confirmed) = confirmed.as_mut().filter(|confirmed| confirmed.position <= position) else {
            return false;
        };
        if confirmed.at.elapsed() < CONFIRMED_FOR {
            return true;
        }
        confirmed.at = Instant::now();
        false
    }

    async fn confirm(&self, checkpoint: Checkpoint) -> bool {
        let position = checkpoint.position;
        match timeout(LOG_TIMEOUT, contains(&*self.history, checkpoint)).await {
            Ok(Ok(is_contained)) => {
                *self.confirmed.lock() = is_contained.then(|| Confirmed { position, at: Instant::now() });
                is_contained
            }
            // The log was not replaced by one that cannot be read: what was confirmed before still is.
            Ok(Err(_)) | Err(_) => self.confirmed.lock().is_some_and(|last| last.position <= position),
        }
    }

    /// What was served at a position that the log does not have any more was of a history that is lost.
    /// Two reads that overtake each other look the same, so the log is not asked each time.
    async fn forget_another_history(&self, newest: i64, position: i64) {
        {
            let mut asked = self.newest_asked.lock();
            if asked.is_some_and(|at| at.elapsed() < CONFIRMED_FOR) {
                return;
            }
            *asked = Some(Instant::now());
        }
        if let Ok(Ok(None)) = timeout(LOG_TIMEOUT, self.history.event_id_at(newest)).await {
            let _moved_on =
                self.newest_served.compare_exchange(newest, position, Ordering::Relaxed, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust").field("newest_served", &self.newest_served).finish_non_exhaustive()
    }
}
