//! Whether a checkpoint belongs to the log.

use domain::{Checkpoint, History, HistoryError};

/// Whether `checkpoint` is a place in `history`.
pub(crate) async fn contains(history: &dyn History, checkpoint: Checkpoint) -> Result<bool, HistoryError> {
    Ok(checkpoint == Checkpoint::START
        || history.event_id_at(checkpoint.position).await? == Some(checkpoint.event_id))
}
