//! How a purchase is going: from its Redis hash, or else from its own stream, the newest there is.
//!
//! What is answered never goes back and never runs ahead of the lists: whoever is told SUCCESS finds the
//! subscription. So what the read tables do not contain yet is waited for, and left out when the wait
//! has been long enough.

use super::App;
use crate::event_log::{EventLog, LogError, StreamId};
use crate::telemetry::chain;
use domain::transaction::{Status, Transaction};
use domain::{Recorded, TransactionId};
use projections::transaction::{TransactionHash, fold};
use projections::{Readers, TransactionView};
use std::time::Duration;
use tokio::time::Instant;

/// How long an answer waits for the read tables to contain what the stream says.
const READ_TABLES_WAIT: Duration = Duration::from_secs(2);

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The read tables cannot, or history is not what it must be.
    #[error(transparent)]
    Projection(#[from] projections::Error),
}

/// A purchase as it may be told.
pub struct Known {
    /// What has become of it.
    pub view: TransactionView,
    /// How it came to be so, in order.
    pub events: Vec<Recorded>,
    /// False for a purchase so new that the lists do not have it yet.
    listed: bool,
}

/// The hash of `id`, `None` when there is no such transaction. Without Redis the stream says the same.
///
/// # Errors
/// The log's own, when the stream must be read and cannot be.
pub async fn current(app: &App, id: TransactionId) -> Result<Option<TransactionHash>, Error> {
    match app.hashes.get(id).await {
        Ok(Some(hash)) => return Ok(Some(hash)),
        Ok(None) => {}
        Err(error) => {
            tracing::debug!(error = %chain(&error), "a status is read without Redis")
        }
    }
    let Some(known) = from_stream(&app.log, &app.readers, id).await? else { return Ok(None) };
    let hash = TransactionHash::from(&known.view);
    if known.listed
        && let Err(error) = app.hashes.write_back(&hash).await
    {
        tracing::debug!(error = %chain(&error), "a status was not written back");
    }
    Ok(Some(hash))
}

/// The transaction `id` with everything that happened to it, as it may be told.
///
/// # Errors
/// The log's own; what the stream says cannot be read.
pub async fn known(app: &App, id: TransactionId) -> Result<Option<Known>, Error> {
    let known = from_stream(&app.log, &app.readers, id).await?;
    if let Some(known) = known.as_ref().filter(|known| known.listed) {
        told(app, std::slice::from_ref(&known.view)).await;
    }
    Ok(known)
}

/// Whoever is told of `views`, in a list or one by one, reads nothing older afterwards. To be called
/// before they are told.
pub async fn told(app: &App, views: &[TransactionView]) {
    if let Err(error) = app.hashes.keep_up_with(views).await {
        tracing::debug!(error = %chain(&error), "statuses are read without Redis");
    }
}

/// The transaction `id` from its own stream, as far as the read tables are, but at least requested.
///
/// # Errors
/// The log's own; what the stream says cannot be read.
async fn from_stream(log: &EventLog, readers: &Readers, id: TransactionId) -> Result<Option<Known>, Error> {
    let mut events = log.stream(StreamId::of::<Transaction>(id.0)).await?;
    let Some(view) = fold(&events)? else { return Ok(None) };
    if readers.checkpoint().known() >= view.position {
        return Ok(Some(Known { view, events, listed: true }));
    }
    if view.status == Status::Pending {
        return Ok(Some(Known { view, events, listed: false })); // nothing in the lists depends on it
    }
    let until = Instant::now() + READ_TABLES_WAIT;
    if readers.checkpoint().wait_for(view.position, until).await.is_ok() {
        return Ok(Some(Known { view, events, listed: true }));
    }
    let checkpoint = readers.checkpoint().known();
    events.retain(|event| event.sequence == 1 || event.position <= checkpoint);
    let listed = view.created_position <= checkpoint;
    Ok(fold(&events)?.map(|view| Known { view, events, listed }))
}

/// Every state that `id` was in up to the event at `until`, in order: one for each commit that moved it.
///
/// # Errors
/// The log's own; what the stream says cannot be read.
pub async fn changes(log: &EventLog, id: TransactionId, until: i64) -> Result<Vec<TransactionHash>, Error> {
    let mut events = log.stream(StreamId::of::<Transaction>(id.0)).await?;
    events.retain(|event| event.position <= until);
    let mut changes = Vec::new();
    for end in 1..=events.len() {
        let goes_on = events.get(end).is_some_and(|next| next.commit_end == events[end - 1].commit_end);
        if !goes_on && let Some(view) = fold(&events[..end])? {
            changes.push(TransactionHash::from(&view));
        }
    }
    Ok(changes)
}
