//! Drives the transactions of requeued messages, and queues their rechecks again.

use super::{Rechecks, consumer, rechecks};
use crate::event_log::EventLog;
use crate::processors::requeued::{Handled, Requeued};
use crate::processors::{ActivationProcessor, Outcome, Parked, ParkedMessage};
use crate::telemetry::chain;
use cqrs_es::Aggregate;
use domain::transaction::Transaction;
use domain::{Recorded, TransactionId};
use tokio_util::sync::CancellationToken;

/// Polls for requeued messages and drives their transactions.
pub struct RequeuedActivations {
    messages: Requeued,
    processor: ActivationProcessor,
    rechecks: Rechecks,
}

impl RequeuedActivations {
    #[must_use]
    pub fn new(parked: Parked, log: EventLog, processor: ActivationProcessor, rechecks: Rechecks) -> Self {
        let consumers = vec![consumer::NAME, rechecks::NAME];
        Self { messages: Requeued { parked, log, consumers }, processor, rechecks }
    }

    /// Polls until `stop`, and finishes the transactions that are being driven.
    pub async fn run(self, stop: CancellationToken) {
        let Self { messages, processor, rechecks } = self;
        let take = async |message: ParkedMessage, event: Option<Recorded>| {
            let event = event.filter(|event| event.aggregate_type == Transaction::TYPE);
            let event = event.ok_or("the log has no transaction at this position")?;
            let id = TransactionId(event.aggregate_uuid().map_err(|error| error.to_string())?);
            if message.consumer == rechecks::NAME {
                processor.0.in_flight.clear_delay(id);
                return rechecks.requeue(id, event.recorded_at).await.map_err(|error| chain(&error));
            }
            drive(&processor, id).await
        };
        messages.run(stop, take).await;
    }
}

async fn drive(processor: &ActivationProcessor, id: TransactionId) -> Handled {
    match processor.drive_now(id).await {
        Outcome::Done | Outcome::RetryAfter(_) => Ok(()), // done, or retried by the sweeper
        Outcome::Park { reason } => Err(reason),
    }
}
