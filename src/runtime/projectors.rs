//! The two projections as followers of the log, and the log as their check reads it.

use crate::event_log::{EventLog, Sink, SinkError, StreamId};
use crate::failpoint::{Step, failpoint};
use cqrs_es::Aggregate;
use domain::transaction::Transaction;
use domain::user_offer::UserOffer;
use domain::{HistoryAnswer, Recorded};
use projections::{HashProjector, Streams, StreamsOf, TableProjector};
use uuid::Uuid;

impl Streams for EventLog {
    fn ids(&self, kind: StreamsOf, from: Uuid) -> HistoryAnswer<'_, Vec<Uuid>> {
        Box::pin(async move { Ok(self.stream_ids(aggregate_type(kind), from).await?) })
    }

    fn of(&self, kind: StreamsOf, ids: Vec<Uuid>) -> HistoryAnswer<'_, Vec<Recorded>> {
        let aggregate_type = aggregate_type(kind);
        let stream = move |aggregate_id| StreamId { aggregate_type, aggregate_id };
        let streams: Vec<_> = ids.into_iter().map(stream).collect();
        Box::pin(async move {
            let mut events = self.streams(&streams).await?;
            events.sort_by(|one, other| one.aggregate_id.cmp(&other.aggregate_id)); // stable: each stays in order
            Ok(events)
        })
    }
}

fn aggregate_type(kind: StreamsOf) -> &'static str {
    match kind {
        StreamsOf::Transactions => Transaction::TYPE,
        StreamsOf::Subscriptions => UserOffer::TYPE,
    }
}

impl Sink for TableProjector {
    fn name(&self) -> &'static str {
        "read_tables"
    }

    async fn checkpoint(&mut self) -> Result<i64, SinkError> {
        Ok(Self::checkpoint(self).await?)
    }

    async fn apply(&mut self, page: &[Recorded]) -> Result<(), SinkError> {
        failpoint(Step::TablesBefore);
        Self::apply(self, page).await?;
        failpoint(Step::TablesWritten);
        Ok(())
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
        failpoint(Step::HashesBefore);
        Self::apply(self, page).await?;
        failpoint(Step::HashesWritten);
        Ok(())
    }

    /// Redis may be lost at any moment, also while nothing is appended.
    async fn idle(&mut self, checkpoint: i64) -> Result<(), SinkError> {
        Ok(self.still_at(checkpoint).await?)
    }
}
