//! Final statuses in the memory of this process, which Redis itself keeps true.
//!
//! The connection that reads hashes has `CLIENT TRACKING ON`: Redis tells it when a hash that it has read changes,
//! is deleted or expires (<https://redis.io/docs/latest/develop/reference/client-side-caching/>). So a hash that somebody
//! breaks is read again, and repaired, as without a cache. When the connection is lost nothing is told any more, and
//! nothing is remembered.

use super::CHECKPOINT;
use crate::transaction::{self, TransactionHash};
use domain::TransactionId;
use quick_cache::sync::Cache;
use redis::{PushInfo, PushKind, Value};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// How many final statuses are remembered; 1.3 kilobytes each.
const CACHED_STATUSES: usize = 20_000;
/// Counters of what was forgotten, each for a part of the ids.
const COUNTERS: usize = 64;

pub(super) struct CachedStatuses {
    statuses: Cache<TransactionId, Arc<TransactionHash>>,
    forgotten: [AtomicU64; COUNTERS],
    /// The checkpoint has changed: whether the hashes are still to be trusted is seen by the next read.
    must_look: AtomicBool,
    /// How many connections were lost.
    lost: AtomicU64,
    /// The same when Redis was last asked to track what is read.
    asked_at: AtomicU64,
}

/// The moment before a hash is read.
#[derive(Clone, Copy)]
pub(super) struct Moment {
    forgotten: u64,
    lost: u64,
    /// Whether the connection must still ask Redis to track what it reads.
    pub(super) must_ask: bool,
}

impl CachedStatuses {
    pub(super) fn new() -> Self {
        let forgotten = std::array::from_fn(|_| AtomicU64::new(0));
        let (lost, asked_at) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        let must_look = AtomicBool::new(false);
        Self { statuses: Cache::new(CACHED_STATUSES), forgotten, must_look, lost, asked_at }
    }

    /// The final status of `id`. When the checkpoint has changed, one caller is told nothing, and looks at it.
    pub(super) fn get(&self, id: TransactionId) -> Option<Arc<TransactionHash>> {
        if self.must_look.load(Ordering::Relaxed) && self.must_look.swap(false, Ordering::SeqCst) {
            return None;
        }
        self.statuses.get(&id)
    }

    /// The next read looks at the checkpoint.
    pub(super) fn look_again(&self) {
        self.must_look.store(true, Ordering::SeqCst);
    }

    /// Call this before the connection is chosen by which `id` is read.
    pub(super) fn now(&self, id: TransactionId) -> Moment {
        let lost = self.lost.load(Ordering::SeqCst);
        let must_ask = self.asked_at.load(Ordering::SeqCst) != lost;
        Moment { forgotten: self.counter(id).load(Ordering::SeqCst), lost, must_ask }
    }

    /// The connection of a read that began at `since` has asked.
    pub(super) fn asked(&self, since: Moment) {
        self.asked_at.store(since.lost, Ordering::SeqCst);
    }

    /// Remembers `hash`, which was read after `since`, unless Redis has said meanwhile that it is another now, or was
    /// lost.
    pub(super) fn put(&self, hash: &Arc<TransactionHash>, since: Moment) {
        let id = hash.transaction_id();
        self.statuses.insert(id, hash.clone());
        if self.counter(id).load(Ordering::SeqCst) != since.forgotten {
            self.statuses.remove(&id);
        }
    }

    /// Takes what Redis says, or that it is gone.
    pub(super) fn hear(&self, said: &PushInfo) {
        match (&said.kind, said.data.first()) {
            (PushKind::Invalidate, Some(Value::Array(keys))) => keys.iter().for_each(|key| self.forget(key)),
            (PushKind::Invalidate | PushKind::Disconnection, _) => self.clear(), // by FLUSHALL there are no keys
            _ => {}
        }
    }

    /// Forgets all, and asks the next connection.
    pub(super) fn clear(&self) {
        self.lost.fetch_add(1, Ordering::SeqCst);
        for counter in &self.forgotten {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        self.statuses.clear();
    }

    fn forget(&self, key: &Value) {
        let Value::BulkString(key) = key else { return };
        if key == CHECKPOINT.as_bytes() {
            return self.look_again();
        }
        let Some(id) = transaction::id_of_key(key) else { return };
        self.counter(id).fetch_add(1, Ordering::SeqCst);
        self.statuses.remove(&id);
    }

    fn counter(&self, id: TransactionId) -> &AtomicU64 {
        &self.forgotten[usize::from(id.0.as_bytes()[15]) % COUNTERS]
    }
}

impl fmt::Debug for CachedStatuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedStatuses").field("statuses", &self.statuses.len()).finish_non_exhaustive()
    }
}
