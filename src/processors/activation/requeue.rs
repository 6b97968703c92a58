//! Drives the transactions of requeued messages.

use super::consumer;
use crate::event_log::EventLog;
use crate::processors::requeued::{Handled, Requeued};
use crate::processors::{ActivationProcessor, Outcome, Parked};
use cqrs_es::Aggregate;
use domain::transaction::Transaction;
use domain::{Recorded, TransactionId};
use tokio_util::sync::CancellationToken;

/// Polls for requeued messages and drives their transactions.
pub struct RequeuedActivations {
    messages: Requeued,
    processor: ActivationProcessor,
}

impl RequeuedActivations {
    #[must_use]
    pub fn new(parked: Parked, log: EventLog, processor: ActivationProcessor) -> Self {
        let consumers = vec![consumer::NAME];
        Self { messages: Requeued { parked, log, consumers }, processor }
    }

    /// Polls until `stop`, and finishes the transactions that are being driven.
    pub async fn run(self, stop: CancellationToken) {
        let Self { messages, processor } = self;
        messages.run(stop, |_, event| drive(&processor, event)).await;
    }
}

async fn drive(processor: &ActivationProcessor, event: Option<Recorded>) -> Handled {
    let event = event.filter(|event| event.aggregate_type == Transaction::TYPE);
    let id = event.and_then(|event| event.aggregate_uuid().ok()).map(TransactionId);
    let id = id.ok_or("the log has no transaction at this position")?;
    match processor.drive_now(id).await {
        Outcome::Done | Outcome::RetryAfter(_) => Ok(()), // done, or retried by the sweeper
        Outcome::Park { reason } => Err(reason),
    }
}
