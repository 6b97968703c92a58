//! The log, as far as what is derived from it asks whether it is still a copy of the same history.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use uuid::Uuid;

/// Why the log cannot be read.
pub type HistoryError = Box<dyn std::error::Error + Send + Sync>;

/// An answer of [`History`].
pub type HistoryAnswer<'a, T> = Pin<Box<dyn Future<Output = Result<T, HistoryError>> + Send + 'a>>;

/// Says which event a position has, so that a copy of another history is recognised.
pub trait History: Send + Sync {
    /// The position of the last event; 0 in an empty log.
    fn head(&self) -> HistoryAnswer<'_, i64>;

    /// The id of the event at `position`; `None` beyond the head.
    fn event_id_at(&self, position: i64) -> HistoryAnswer<'_, Option<Uuid>>;
}

impl fmt::Debug for dyn History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("History")
    }
}
