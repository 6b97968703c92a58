//! Drives the transactions of requeued messages. If this process dies in between, the sweeper finds the
//! transaction.

use super::consumer;
use crate::event_log::{EventLog, LogError};
use crate::processors::{ActivationProcessor, Outcome, Parked, ParkedMessage};
use crate::telemetry::chain;
use cqrs_es::Aggregate;
use domain::TransactionId;
use domain::transaction::Transaction;
use futures::StreamExt;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const PERIOD: Duration = Duration::from_secs(1);
/// Messages that are taken at a time.
const BATCH: u32 = 64;

/// Polls for requeued messages and drives their transactions.
pub struct RequeuedActivations {
    parked: Parked,
    log: EventLog,
    processor: ActivationProcessor,
}

impl RequeuedActivations {
    #[must_use]
    pub fn new(parked: Parked, log: EventLog, processor: ActivationProcessor) -> Self {
        Self { parked, log, processor }
    }

    /// Polls until `stop`, and finishes the transactions that are being driven.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.parked.take_requeued(&[consumer::NAME], BATCH).await {
                Ok(messages) => {
                    let each = futures::stream::iter(messages);
                    each.for_each_concurrent(None, |message| self.handle(message)).await;
                }
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "cannot read requeued messages; retrying");
                }
            }
            stop.run_until_cancelled(sleep(PERIOD)).await;
        }
    }

    async fn handle(&self, message: ParkedMessage) {
        let reason = match self.transaction(&message).await {
            Ok(Some(id)) => match self.processor.drive_now(id).await {
                Outcome::Done | Outcome::RetryAfter(_) => return, // done, or retried by the sweeper
                Outcome::Park { reason } => reason,
            },
            Ok(None) => "the log has no transaction at this position".to_owned(),
            Err(error) => chain(&error),
        };
        if let Err(error) = self.parked.park_again(message.id, &reason).await {
            tracing::error!(error = %chain(&error), parked_id = %message.id, reason, "cannot park {} again", message.id);
        }
    }

    /// The transaction of the event at the message's position in the log, whatever the message says.
    async fn transaction(&self, message: &ParkedMessage) -> Result<Option<TransactionId>, LogError> {
        let page = self.log.page(message.position - 1, 1).await?;
        let event = page.first().filter(|event| event.aggregate_type == Transaction::TYPE);
        Ok(event.and_then(|event| event.aggregate_uuid().ok()).map(TransactionId))
    }
}
