//! How a transaction is going: from its Redis hash, or else from its own stream, the newest source.
//!
//! An answer never goes back and never runs ahead of the lists: a client that reads SUCCESS finds the
//! subscription. So an answer waits for what the read tables do not contain yet, and leaves it out when
//! the wait was long enough. Lists are covered in the same way: no status read after a list is older than
//! the list. While the read tables are rebuilt no list is served, the hashes stay as they are, and the stream alone says.

use super::Error;
use super::partner_activate::Reference;
use super::status_watch::{Seen, StatusWait, StatusWatcher};
use crate::event_log::{EventLog, LogError, StreamId};
use crate::telemetry::chain;
use domain::ids::IdempotencyKey;
use domain::transaction::{Status, Transaction};
use domain::{PartnerId, Recorded, Slice, TransactionId, UserId};
use projections::transaction::{AdminFilter, PartnerFilter, TransactionHash, UserFilter, fold};
use projections::{Readers, RedisHashes, TransactionView};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OnceCell, Semaphore};
use tokio::time::Instant;

/// How long an answer waits for the read tables to contain what the stream says.
const READ_TABLES_WAIT: Duration = Duration::from_secs(2);

/// How many queries of the log waiting requests have under way at once: fewer than the smallest pool has connections
/// (4), so that the others always find one.
const MAX_WAITERS_QUERIES: usize = 3;

/// The transactions and their statuses.
pub struct Statuses {
    log: EventLog,
    readers: Readers,
    hashes: RedisHashes,
    watcher: StatusWatcher,
    waiters_queries: Semaphore,
}

/// A transaction with what happened to it, in order.
pub struct TransactionWithHistory {
    pub view: TransactionView,
    pub events: Vec<Recorded>,
}

/// A transaction as its stream tells it.
struct Folded {
    transaction: TransactionWithHistory,
    /// False for a transaction so new that the lists do not have it yet.
    listed: bool,
}

/// Who reads a status.
#[derive(Clone, Copy)]
enum Reader {
    /// A request that is answered at once.
    Request,
    /// Those who wait: there may be thousands of them.
    Waiter,
}

fn unreadable() -> Error {
    LogError::Unavailable("another request has read for this one, and failed".into()).into()
}

impl Statuses {
    #[must_use]
    pub fn new(log: EventLog, readers: Readers, hashes: RedisHashes, watcher: StatusWatcher) -> Self {
        Self { log, readers, hashes, watcher, waiters_queries: Semaphore::new(MAX_WAITERS_QUERIES) }
    }

    /// The status of `id`; `None` when there is no such transaction. Without Redis the stream says the
    /// same.
    pub async fn current(&self, id: TransactionId) -> Result<Option<Arc<TransactionHash>>, Error> {
        self.read(id, Reader::Request).await
    }

    /// The status of what `wait` waits for: one read for all who wait for the same, which begins after this call.
    pub async fn look(&self, wait: &StatusWait) -> Result<Arc<Seen>, Error> {
        let mut failure = None;
        let read = async {
            match self.read(wait.id(), Reader::Waiter).await {
                Ok(now) => Some(Arc::new(Seen { now, changes: OnceCell::new() })),
                Err(cause) => {
                    failure = Some(cause);
                    None
                }
            }
        };
        let seen = wait.share(read).await;
        seen.ok_or_else(|| failure.unwrap_or_else(unreadable))
    }

    async fn read(&self, id: TransactionId, reader: Reader) -> Result<Option<Arc<TransactionHash>>, Error> {
        if !self.readers.checkpoint().is_lost() {
            match self.hashes.get(id).await {
                Ok(Some(hash)) => return Ok(Some(hash)),
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(error = %chain(&error), "a status is read without Redis");
                }
            }
        }
        let Some(Folded { transaction, listed }) = self.read_stream(id, reader).await? else {
            return Ok(None);
        };
        let hash = TransactionHash::from(&transaction.view);
        if listed && let Err(error) = self.hashes.write_back(&hash).await {
            tracing::debug!(error = %chain(&error), "a status was not written back");
        }
        Ok(Some(Arc::new(hash)))
    }

    /// Every status up to what was `seen`, in order: one for each commit that moved it. One read for all who have
    /// seen the same.
    pub async fn changes<'a>(&self, seen: &'a Seen) -> Result<&'a [TransactionHash], Error> {
        let mut failure = None;
        let changes = seen.changes.get_or_init(async || match self.read_changes(seen).await {
            Ok(changes) => Some(changes),
            Err(cause) => {
                failure = Some(cause);
                None
            }
        });
        let changes = changes.await.as_deref();
        changes.ok_or_else(|| failure.unwrap_or_else(unreadable))
    }

    async fn read_changes(&self, seen: &Seen) -> Result<Vec<TransactionHash>, Error> {
        let Some(now) = &seen.now else { return Ok(Vec::new()) };
        let mut events = self.stream(now.transaction_id(), Reader::Waiter).await?;
        events.retain(|event| event.position <= now.position());
        let mut changes = Vec::new();
        for end in 1..=events.len() {
            let goes_on = events.get(end).is_some_and(|next| next.commit_end == events[end - 1].commit_end);
            if !goes_on && let Some(view) = fold(&events[..end])? {
                changes.push(TransactionHash::from(&view));
            }
        }
        Ok(changes)
    }

    async fn stream(&self, id: TransactionId, reader: Reader) -> Result<Vec<Recorded>, LogError> {
        let _permit = match reader {
            Reader::Request => None,
            Reader::Waiter => Some(self.waiters_queries.acquire().await.expect("it is never closed")),
        };
        self.log.stream(StreamId::of::<Transaction>(id.0)).await
    }

    /// A wait for the changes of `id`; `None` when there are too many. Call this before the first
    /// look.
    #[must_use]
    pub fn wait_for(&self, id: TransactionId) -> Option<StatusWait> {
        self.watcher.wait_for(id)
    }

    /// How many requests wait for a change.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.watcher.waiting()
    }

    /// The transaction `id` with its history.
    pub async fn find(&self, id: TransactionId) -> Result<Option<TransactionWithHistory>, Error> {
        let found = self.read_stream(id, Reader::Request).await?;
        let Some(Folded { transaction, listed }) = found else { return Ok(None) };
        if listed {
            self.cover(std::slice::from_ref(&transaction.view)).await;
        }
        Ok(Some(transaction))
    }

    /// The transaction with our reference for partners, from the log, which has it as soon as the partner
    /// has the reference.
    pub async fn find_by_reference(
        &self,
        reference: &Reference,
    ) -> Result<Option<TransactionWithHistory>, Error> {
        let Some(request) = self.log.find_by_reference(reference.as_str()).await? else { return Ok(None) };
        let id = request.aggregate_id.parse().map_err(|_| LogError::Broken {
            position: request.position,
            why: "the aggregate's id is not a UUID".to_owned(),
        })?;
        self.find(id).await
    }

    /// The transaction that the partner's own reference began: found by its derived id, so that a partner
    /// who lost the answer sees it at once, and not only when the lists have it.
    pub async fn find_by_partner_reference(
        &self,
        partner: PartnerId,
        reference: String,
    ) -> Result<Option<TransactionView>, Error> {
        let id = IdempotencyKey::PartnerReference(reference).event_id(partner.0);
        Ok(self.find(TransactionId(id)).await?.map(|transaction| transaction.view))
    }

    /// The user's transactions, newest first.
    pub async fn list_for_user(
        &self,
        user: UserId,
        filter: UserFilter,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Slice<TransactionView, i64>, Error> {
        let slice = self.readers.transactions_of_user(user, filter, after, limit).await?;
        self.cover(&slice.items).await;
        Ok(slice)
    }

    /// The partner's transactions, newest first.
    pub async fn list_for_partner(
        &self,
        partner: PartnerId,
        filter: PartnerFilter,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Slice<TransactionView, i64>, Error> {
        let slice = self.readers.transactions_of_partner(partner, filter, after, limit).await?;
        self.cover(&slice.items).await;
        Ok(slice)
    }

    /// All transactions with their history, newest first.
    pub async fn list_all(
        &self,
        filter: AdminFilter,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Slice<TransactionWithHistory, i64>, Error> {
        let slice = self.readers.transactions(filter, after, limit).await?;
        self.cover(&slice.items).await;
        let streams = slice.items.iter().map(|view| StreamId::of::<Transaction>(view.transaction_id.0));
        let mut histories: HashMap<String, Vec<Recorded>> = HashMap::new();
        for event in self.log.streams(&streams.collect::<Vec<_>>()).await? {
            histories.entry(event.aggregate_id.clone()).or_default().push(event);
        }
        Ok(slice.map(|view| {
            let events = histories.remove(&view.transaction_id.to_string()).unwrap_or_default();
            TransactionWithHistory { view, events }
        }))
    }

    /// Makes sure that no hash is older than `views`, which are about to be shown.
    async fn cover(&self, views: &[TransactionView]) {
        if let Err(error) = self.hashes.keep_up_with(&views.iter().collect::<Vec<_>>()).await {
            tracing::debug!(error = %chain(&error), "statuses are read without Redis");
        }
    }

    /// The transaction `id` from its own stream, as far as the read tables are, but at least requested.
    async fn read_stream(&self, id: TransactionId, reader: Reader) -> Result<Option<Folded>, Error> {
        let folded = |view, events, listed| {
            let transaction = TransactionWithHistory { view, events };
            Folded { transaction, listed }
        };
        let checkpoint = self.readers.checkpoint();
        let mut events = self.stream(id, reader).await?;
        let Some(view) = fold(&events)? else { return Ok(None) };
        if checkpoint.known() >= view.position {
            return Ok(Some(folded(view, events, true)));
        }
        if view.status == Status::Pending {
            return Ok(Some(folded(view, events, false))); // nothing in the lists depends on it
        }
        match checkpoint.wait_unless_lost(view.position, Instant::now() + READ_TABLES_WAIT).await {
            Ok(()) => return Ok(Some(folded(view, events, true))),
            Err(projections::Error::Lost(_)) => {
                self.cover(std::slice::from_ref(&view)).await;
                return Ok(Some(folded(view, events, false))); // no list contradicts it: they are refused
            }
            Err(_) => {}
        }
        let reached = checkpoint.known();
        events.retain(|event| event.sequence == 1 || event.position <= reached);
        let listed = view.created_position <= reached;
        Ok(fold(&events)?.map(|view| folded(view, events, listed)))
    }
}
