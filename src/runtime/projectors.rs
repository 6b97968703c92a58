//! The two projections as followers of the log.

use crate::event_log::{Sink, SinkError};
use domain::Recorded;
use projections::{HashProjector, TableProjector};

impl Sink for TableProjector {
    fn name(&self) -> &'static str {
        "read_tables"
    }

    async fn checkpoint(&mut self) -> Result<i64, SinkError> {
        Ok(Self::checkpoint(self).await?)
    }

    async fn apply(&mut self, page: &[Recorded]) -> Result<(), SinkError> {
        Ok(Self::apply(self, page).await?)
    }

    /// Tables may lose rows or be dropped also while nothing is appended.
    async fn idle(&mut self, checkpoint: i64) -> Result<(), SinkError> {
        Ok(self.still_at(checkpoint).await?)
    }
}

impl Sink for HashProjector {
    fn name(&self) -> &'static str {
        "redis_hashes"
    }

    async fn checkpoint(&mut self) -> Result<i64, SinkError> {
        Ok(Self::checkpoint(self).await?)
    }

    async fn apply(&mut self, page: &[Recorded]) -> Result<(), SinkError> {
        Ok(Self::apply(self, page).await?)
    }

    /// Redis may be lost at any moment, also while nothing is appended.
    async fn idle(&mut self, checkpoint: i64) -> Result<(), SinkError> {
        Ok(self.still_at(checkpoint).await?)
    }
}
