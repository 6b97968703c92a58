//! What the relay and the stream ask the log.

use crate::event_log::{EventLog, LogError};
use uuid::Uuid;

/// The part of the log that the relay compares the stream with.
pub trait History: Send + Sync + 'static {
    /// The position of the last event; 0 in an empty log.
    fn head(&self) -> impl Future<Output = Result<i64, LogError>> + Send;

    /// The id of the event at `position`; `None` beyond the head.
    fn event_id_at(&self, position: i64) -> impl Future<Output = Result<Option<Uuid>, LogError>> + Send;
}

impl History for EventLog {
    fn head(&self) -> impl Future<Output = Result<i64, LogError>> + Send {
        EventLog::head(self)
    }

    async fn event_id_at(&self, position: i64) -> Result<Option<Uuid>, LogError> {
        EventLog::event_id_at(self, position).await
    }
}
