//! Where requests wait for the status of a transaction to change: each registers a wait and is signalled when
//! there is something new to read.
//!
//! One watcher for the whole process follows the log, waits until the read tables and the hashes contain
//! a page, and only then signals the waits to its transactions. A signal carries no data: the
//! status is read as any other reader would, once for all who wait for the same transaction. Without waits the
//! watcher sleeps.
//!
//! **Architecture Invariant:** a request registers its wait before its first look, and a page is signalled after
//! it can be read: so a signal follows whatever the look did not show.

use super::shared_read::SharedRead;
use crate::backoff::Backoff;
use crate::event_log::{EventLog, Feed, LogError, PAGE_EVENTS};
use crate::telemetry::chain;
use cqrs_es::Aggregate;
use domain::transaction::Transaction;
use domain::{Recorded, TransactionId};
use parking_lot::{Mutex, MutexGuard};
use projections::transaction::TransactionHash;
use projections::{Readers, RedisHashes};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, OnceCell, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How many requests may wait at once, in one process: below the connections that a server has (10,000), so
/// that waiting requests never keep out the others.
pub const MAX_WAITING: usize = 8_192;
/// How long one wait for the read tables lasts before it begins again.
const READ_TABLES_WAIT: Duration = Duration::from_secs(5);
/// The delays between two questions whether the hashes are as far as the read tables, while another process writes
/// them. One question for the whole process, and only while they lag.
const HASHES_POLL: Backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(50));
/// How long a writer of the hashes in the same process is given before Redis is asked.
const OWN_HASHES_WAIT: Duration = Duration::from_millis(25);
/// The delay before a Redis that did not answer, or read tables that were lost, are asked again.
const RETRY_DELAY: Duration = Duration::from_millis(500);
/// The delay before a log that could not be read is read again.
const LOG_RETRY_DELAY: Duration = Duration::from_secs(1);

/// Signals changes of statuses. Cheap to clone; one for each process.
#[derive(Clone)]
pub struct StatusWatcher(Arc<Waits>);

struct Waits {
    free: Arc<Semaphore>,
    by_transaction: Mutex<HashMap<TransactionId, Watched>>,
    added: Notify,
    shutting_down: CancellationToken,
}

/// What the waits for one transaction share.
#[derive(Default)]
struct Watched {
    changed: watch::Sender<()>,
    looks: Arc<SharedRead<Look>>,
}

/// What all who look at the same time see; `None`: it cannot be read.
pub(super) type Look = Option<Arc<Seen>>;

/// The status at one moment.
pub struct Seen {
    /// `None`: there is no such transaction.
    pub now: Option<Arc<TransactionHash>>,
    /// The statuses up to `now`, read when the first one asks; `None`: they cannot be read.
    pub(super) changes: OnceCell<Option<Vec<TransactionHash>>>,
}

/// A wait for the changes of one transaction. Ends when dropped.
pub struct StatusWait {
    waits: Arc<Waits>,
    id: TransactionId,
    changes: watch::Receiver<()>,
    looks: Arc<SharedRead<Look>>,
    _permit: OwnedSemaphorePermit,
}

/// Why a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// There may be something new: look.
    Changed,
    /// The service stops: look a last time, and answer.
    ShuttingDown,
}

impl StatusWatcher {
    /// Starts to watch. Every wait is signalled when `stop` comes.
    #[must_use]
    pub fn start(log: EventLog, readers: Readers, hashes: RedisHashes, stop: &CancellationToken) -> Self {
        let waits = Arc::new(Waits::new(stop.clone()));
        let follower = Follower { waits: waits.clone(), log, readers, hashes };
        tokio::spawn(stop.clone().run_until_cancelled_owned(follower.run()));
        Self(waits)
    }

    /// A wait for the changes of `id`; `None` when there are too many. Call this before the first
    /// look.
    #[must_use]
    pub fn wait_for(&self, id: TransactionId) -> Option<StatusWait> {
        let permit = self.0.free.clone().try_acquire_owned().ok()?;
        let (changes, looks) = {
            let mut by_transaction = self.0.lock();
            let watched = by_transaction.entry(id).or_default();
            (watched.changed.subscribe(), watched.looks.clone())
        };
        self.0.added.notify_one();
        metrics::gauge!("offers_waiting_requests").increment(1);
        Some(StatusWait { waits: self.0.clone(), id, changes, looks, _permit: permit })
    }

    /// How many waits there are now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        MAX_WAITING - self.0.free.available_permits()
    }
}

impl StatusWait {
    pub(super) fn id(&self) -> TransactionId {
        self.id
    }

    /// What `read` sees, or what another wait for the same transaction sees from now on.
    pub(super) async fn share(&self, read: impl Future<Output = Look>) -> Look {
        self.looks.get(read).await
    }

    /// Waits for the next signal. A signal since the last call counts.
    pub async fn signalled(&mut self) -> Signal {
        tokio::select! {
            biased;
            () = self.waits.shutting_down.cancelled() => Signal::ShuttingDown,
            changed = self.changes.changed() => match changed {
                Ok(()) => Signal::Changed,
                Err(_) => Signal::ShuttingDown, // the sender lives as long as there are waits
            },
        }
    }
}

impl Drop for StatusWait {
    fn drop(&mut self) {
        let mut by_transaction = self.waits.lock();
        self.changes = watch::channel(()).1; // drops the receiver that is counted next
        if by_transaction.get(&self.id).is_some_and(|watched| watched.changed.receiver_count() == 0) {
            by_transaction.remove(&self.id);
        }
        metrics::gauge!("offers_waiting_requests").decrement(1);
    }
}

impl Waits {
    fn new(shutting_down: CancellationToken) -> Self {
        Self {
            free: Arc::new(Semaphore::new(MAX_WAITING)),
            by_transaction: Mutex::default(),
            added: Notify::new(),
            shutting_down,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<TransactionId, Watched>> {
        self.by_transaction.lock()
    }

    fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn signal(&self, page: &[Recorded]) {
        let by_transaction = self.lock();
        for event in page.iter().filter(|event| event.aggregate_type == Transaction::TYPE) {
            let id = event.aggregate_uuid().ok().map(TransactionId);
            if let Some(watched) = id.and_then(|id| by_transaction.get(&id)) {
                watched.changed.send_replace(());
            }
        }
    }

    fn signal_all(&self) {
        self.lock().values().for_each(|watched| watched.changed.send_replace(()));
    }
}

/// Follows the log and signals.
struct Follower {
    waits: Arc<Waits>,
    log: EventLog,
    readers: Readers,
    hashes: RedisHashes,
}

/// Where a page can be read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Readable {
    Everywhere,
    /// Redis does not answer, or the read tables are rebuilt: signal now, and again when they are back.
    InStreams,
}

impl Follower {
    async fn run(self) {
        loop {
            if self.waits.is_empty() {
                self.waits.added.notified().await;
            } else if let Err(cause) = self.follow().await {
                tracing::warn!(error = %chain(&cause), "the status watcher cannot read the log; retrying");
                sleep(LOG_RETRY_DELAY).await;
            }
        }
    }

    /// Signals changes from now on, until there are no waits. What happened before is signalled to
    /// all of them.
    async fn follow(&self) -> Result<(), LogError> {
        let mut feed = self.log.feed();
        let mut position = self.log.head().await?;
        let Some(mut readable) = self.until_readable(position).await else { return Ok(()) };
        self.waits.signal_all();
        while !self.waits.is_empty() {
            let page = self.next_page(&mut feed, position, readable).await?;
            position = page.as_ref().and_then(|page| page.last()).map_or(position, |event| event.position);
            let before = readable;
            readable = match self.until_readable(position).await {
                Some(now) => now,
                None => return Ok(()), // a new wait makes `run` begin again
            };
            match (page, before, readable) {
                (_, Readable::InStreams, Readable::Everywhere) => {
                    self.waits.signal_all(); // the last signal may have been too early
                }
                (Some(page), ..) => self.waits.signal(&page),
                (None, ..) => {}
            }
        }
        Ok(())
    }

    /// The next page; `None` when it is time to ask Redis and the read tables again.
    async fn next_page(
        &self,
        feed: &mut Feed,
        position: i64,
        readable: Readable,
    ) -> Result<Option<Vec<Recorded>>, LogError> {
        match readable {
            Readable::Everywhere => feed.next(position, PAGE_EVENTS).await.map(Some),
            Readable::InStreams => feed.next_within(RETRY_DELAY, position, PAGE_EVENTS).await,
        }
    }

    /// Waits until `position` is in the read tables and in the hashes; `None` when there are no
    /// waits any more.
    async fn until_readable(&self, position: i64) -> Option<Readable> {
        let checkpoint = self.readers.checkpoint();
        while let Err(cause) = checkpoint.wait_unless_lost(position, Instant::now() + READ_TABLES_WAIT).await
        {
            if matches!(cause, projections::Error::Lost(_)) {
                return Some(Readable::InStreams);
            }
            if self.waits.is_empty() {
                return None;
            }
        }
        let mut written = self.hashes.written();
        let mut delays = HASHES_POLL.delays();
        let mut delay = if *written.borrow() > 0 { OWN_HASHES_WAIT } else { Duration::ZERO };
        loop {
            if timeout(delay, written.wait_for(|written| *written >= position)).await.is_ok() {
                return Some(Readable::Everywhere);
            }
            match self.hashes.contain(position).await {
                Ok(true) => return Some(Readable::Everywhere),
                Ok(false) if self.waits.is_empty() => return None,
                Ok(false) => {}
                Err(_) => return Some(Readable::InStreams),
            }
            delay = delays.next_delay();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::thread;
    use uuid::Uuid;

    #[test]
    fn waits_that_end_at_the_same_time_leave_nothing_behind() {
        const ROUNDS: u128 = 20_000;
        let watcher = StatusWatcher(Arc::new(Waits::new(CancellationToken::new())));
        let together = Barrier::new(2);
        let wait_and_drop = || {
            for round in 0..ROUNDS {
                let wait = watcher.wait_for(TransactionId(Uuid::from_u128(round))).expect("two of many");
                together.wait();
                drop(wait);
                together.wait();
            }
        };
        thread::scope(|scope| {
            scope.spawn(wait_and_drop);
            wait_and_drop();
        });
        assert!(watcher.0.is_empty(), "{} of {ROUNDS} are left", watcher.0.lock().len());
    }
}
