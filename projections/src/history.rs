//! The log, as far as a projection needs to ask it something.

use domain::Checkpoint;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use uuid::Uuid;

/// Why the log cannot be read.
pub type HistoryError = Box<dyn std::error::Error + Send + Sync>;

/// What `History` answers with.
pub type HistoryAnswer<'a, T> = Pin<Box<dyn Future<Output = Result<T, HistoryError>> + Send + 'a>>;

/// Says which event a position has, so that a checkpoint of another history is recognised.
pub trait History: Send + Sync {
    /// The id of the event at `position`; `None` beyond the head.
    fn event_id_at(&self, position: i64) -> HistoryAnswer<'_, Option<Uuid>>;

    /// The position of the last event.
    fn head(&self) -> HistoryAnswer<'_, i64>;
}

impl fmt::Debug for dyn History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("History")
    }
}

/// Whether `checkpoint` is a place in `history`.
pub(crate) async fn contains(history: &dyn History, checkpoint: Checkpoint) -> Result<bool, HistoryError> {
    Ok(checkpoint == Checkpoint::START
        || history.event_id_at(checkpoint.position).await? == Some(checkpoint.event_id))
}
