//! Where requests wait for a purchase to change: each takes a seat and is called when there is
//! something new to see.
//!
//! One usher for the whole process follows the log, waits until the read tables and the hashes contain
//! a page, and only then calls those who wait for something in it. A call carries no data: who is called
//! looks for itself, so what it is told is what any other reader would be told now. While nobody waits
//! the usher sleeps.
//!
//! **Architecture Invariant:** a seat is taken before its first look, and a page is called after it can
//! be seen: so whatever a look did not show is still to be called.

use crate::backoff::Backoff;
use crate::event_log::{EventLog, Feed, LogError, PAGE_EVENTS};
use crate::telemetry::chain;
use cqrs_es::Aggregate;
use domain::transaction::Transaction;
use domain::{Recorded, TransactionId};
use parking_lot::{Mutex, MutexGuard};
use projections::{Readers, RedisHashes};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How many requests may wait at once, in one process: well below the connections that a server has, so
/// that those who wait never keep out those who do not.
pub const MAX_SEATS: usize = 4_096;
/// How long one wait for the read tables lasts before it begins again.
const READ_TABLES_WAIT: Duration = Duration::from_secs(5);
/// How often the hashes are asked whether they are as far as the read tables. One
/// question for the whole process, and only while they lag.
const HASHES_POLL: Backoff = Backoff::new(Duration::from_millis(1), Duration::from_millis(50));
/// How soon a Redis that did not answer is asked again.
const REDIS_PAUSE: Duration = Duration::from_millis(500);
/// How long the usher rests when the log cannot be read.
const LOG_PAUSE: Duration = Duration::from_secs(1);

/// The seats and who sits there. Cheap to clone; one for each process.
#[derive(Clone)]
pub struct WaitingRoom(Arc<Room>);

struct Room {
    seats: Arc<Semaphore>,
    /// What is waited for, and how its waiters are called.
    taken: Mutex<HashMap<TransactionId, watch::Sender<()>>>,
    entered: Notify,
    closing: CancellationToken,
}

/// A place in the room, for one who waits for one purchase. Free again when dropped.
pub struct Seat {
    room: Arc<Room>,
    id: TransactionId,
    calls: watch::Receiver<()>,
    _place: OwnedSemaphorePermit,
}

/// Why a wait has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Called {
    /// There may be something new: look.
    Look,
    /// The service stops: look a last time, and answer.
    Closing,
}

impl WaitingRoom {
    /// Opens the room, with its usher. Everybody in it is called when `stop` comes.
    #[must_use]
    pub fn open(log: EventLog, readers: Readers, hashes: RedisHashes, stop: &CancellationToken) -> Self {
        let room = Arc::new(Room {
            seats: Arc::new(Semaphore::new(MAX_SEATS)),
            taken: Mutex::default(),
            entered: Notify::new(),
            closing: stop.clone(),
        });
        let usher = Usher { room: room.clone(), log, readers, hashes };
        tokio::spawn(stop.clone().run_until_cancelled_owned(usher.work()));
        Self(room)
    }

    /// A seat for one who waits for `id`; `None` when all are taken. Take it before the first look.
    #[must_use]
    pub fn enter(&self, id: TransactionId) -> Option<Seat> {
        let place = self.0.seats.clone().try_acquire_owned().ok()?;
        let calls = self.0.taken().entry(id).or_insert_with(|| watch::channel(()).0).subscribe();
        self.0.entered.notify_one();
        metrics::gauge!("offers_waiting_requests").increment(1);
        Some(Seat { room: self.0.clone(), id, calls, _place: place })
    }

    /// How many wait now.
    #[must_use]
    pub fn waiting(&self) -> usize {
        MAX_SEATS - self.0.seats.available_permits()
    }
}

impl Seat {
    /// Waits for the next call. One that came since the last time counts.
    pub async fn called(&mut self) -> Called {
        tokio::select! {
            biased;
            () = self.room.closing.cancelled() => Called::Closing,
            called = self.calls.changed() => match called {
                Ok(()) => Called::Look,
                Err(_) => Called::Closing, // who calls is kept as long as there are seats
            },
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.room.taken();
        self.calls = watch::channel(()).1; // no longer one of those who are counted here
        if taken.get(&self.id).is_some_and(|calls| calls.receiver_count() == 0) {
            taken.remove(&self.id);
        }
        metrics::gauge!("offers_waiting_requests").decrement(1);
    }
}

impl Room {
    fn taken(&self) -> MutexGuard<'_, HashMap<TransactionId, watch::Sender<()>>> {
        self.taken.lock()
    }

    fn is_empty(&self) -> bool {
        self.taken().is_empty()
    }

    fn call(&self, page: &[Recorded]) {
        let taken = self.taken();
        for event in page.iter().filter(|event| event.aggregate_type == Transaction::TYPE) {
            if let Some(calls) = event.aggregate_uuid().ok().and_then(|id| taken.get(&TransactionId(id))) {
                calls.send_replace(());
            }
        }
    }

    fn call_all(&self) {
        self.taken().values().for_each(|calls| calls.send_replace(()));
    }
}

/// Follows the log and calls.
struct Usher {
    room: Arc<Room>,
    log: EventLog,
    readers: Readers,
    hashes: RedisHashes,
}

/// Who can see a page.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Everybody.
    Surely,
    /// Those who do without Redis, which does not answer: call, and again when it is back.
    WithoutRedis,
}

impl Usher {
    async fn work(self) {
        loop {
            if self.room.is_empty() {
                self.room.entered.notified().await;
            } else if let Err(cause) = self.follow().await {
                tracing::warn!(error = %chain(&cause), "who waits for a status waits on");
                sleep(LOG_PAUSE).await;
            }
        }
    }

    /// Calls whoever waits, from now on and until nobody does. What happened before now is for all of
    /// them to look at.
    async fn follow(&self) -> Result<(), LogError> {
        let mut feed = self.log.feed();
        let mut position = self.log.head().await?;
        let Some(mut seen) = self.until_seen(position).await else { return Ok(()) };
        self.room.call_all();
        while !self.room.is_empty() {
            let page = self.next_page(&mut feed, position, seen).await?;
            position = page.as_ref().and_then(|page| page.last()).map_or(position, |event| event.position);
            let before = seen;
            seen = match self.until_seen(position).await {
                Some(now) => now,
                None => return Ok(()), // whoever comes now finds everything still to be called
            };
            match (page, before, seen) {
                (_, Seen::WithoutRedis, Seen::Surely) => self.room.call_all(), // they may have looked too early
                (Some(page), ..) => self.room.call(&page),
                (None, ..) => {}
            }
        }
        Ok(())
    }

    /// The next page; `None` when it is time to ask Redis again.
    async fn next_page(
        &self,
        feed: &mut Feed,
        position: i64,
        seen: Seen,
    ) -> Result<Option<Vec<Recorded>>, LogError> {
        let next = feed.next(position, PAGE_EVENTS);
        match seen {
            Seen::Surely => next.await.map(Some),
            Seen::WithoutRedis => timeout(REDIS_PAUSE, next).await.ok().transpose(),
        }
    }

    /// Waits until `position` is in the read tables and in the hashes; `None` when nobody is here any more.
    async fn until_seen(&self, position: i64) -> Option<Seen> {
        let checkpoint = self.readers.checkpoint();
        while checkpoint.wait_for(position, Instant::now() + READ_TABLES_WAIT).await.is_err() {
            if self.room.is_empty() {
                return None;
            }
        }
        let mut delays = HASHES_POLL.delays();
        loop {
            match self.hashes.contain(position).await {
                Ok(true) => return Some(Seen::Surely),
                Ok(false) if self.room.is_empty() => return None,
                Ok(false) => {}
                Err(_) => return Some(Seen::WithoutRedis),
            }
            sleep(delays.next_delay()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;
    use std::thread;
    use uuid::Uuid;

    fn room() -> WaitingRoom {
        WaitingRoom(Arc::new(Room {
            seats: Arc::new(Semaphore::new(MAX_SEATS)),
            taken: Mutex::default(),
            entered: Notify::new(),
            closing: CancellationToken::new(),
        }))
    }

    #[test]
    fn those_who_leave_at_the_same_time_leave_nothing_behind() {
        const ROUNDS: u128 = 20_000;
        let (room, together) = (room(), Barrier::new(2));
        let come_and_go = || {
            for round in 0..ROUNDS {
                let seat = room.enter(TransactionId(Uuid::from_u128(round))).expect("a free seat");
                together.wait();
                drop(seat);
                together.wait();
            }
        };
        thread::scope(|scope| {
            scope.spawn(come_and_go);
            come_and_go();
        });
        assert!(room.0.is_empty(), "{} of {ROUNDS} are still waited for", room.0.taken().len());
    }
}
