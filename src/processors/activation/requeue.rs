//! Takes up again what a person has sent back to work, in whatever process has this role. What it was about
//! to do when that process died is unfinished business like any other: the sweeper finds it.

use super::consumer;
use crate::bus::Verdict;
use crate::event_log::{EventLog, LogError};
use crate::processors::{ActivationProcessor, Parked, ParkedMessage};
use crate::telemetry::chain;
use cqrs_es::Aggregate;
use domain::TransactionId;
use domain::transaction::Transaction;
use futures::StreamExt;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(1);
/// How many are taken at a time.
const BATCH: u32 = 64;

/// Drives the purchases of requeued messages, again and again.
pub struct Resumption {
    parked: Parked,
    log: EventLog,
    processor: ActivationProcessor,
}

impl Resumption {
    /// Drives by `processor` what was requeued in `parked`.
    #[must_use]
    pub fn new(parked: Parked, log: EventLog, processor: ActivationProcessor) -> Self {
        Self { parked, log, processor }
    }

    /// Looks until `stop`; what is being driven then is driven to its end.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            match self.parked.resume(&[consumer::NAME], BATCH).await {
                Ok(messages) => {
                    let each = futures::stream::iter(messages);
                    each.for_each_concurrent(None, |message| self.take_up(message)).await;
                }
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "nothing can be taken up again");
                }
            }
            stop.run_until_cancelled(sleep(PERIOD)).await;
        }
    }

    async fn take_up(&self, message: ParkedMessage) {
        let reason = match self.purchase(&message).await {
            Ok(Some(id)) => match self.processor.drive_now(id).await {
                Verdict::Done | Verdict::RetryAfter(_) => return, // done, or everybody's business again
                Verdict::Park { reason } => reason,
            },
            Ok(None) => "the log has no purchase at this position".to_owned(),
            Err(error) => chain(&error),
        };
        if let Err(error) = self.parked.keep_again(message.id, &reason).await {
            tracing::error!(error = %chain(&error), parked_id = %message.id, reason, "{} is not parked again", message.id);
        }
    }

    /// Which purchase the message is about: what the log has at its position, whatever the message says.
    async fn purchase(&self, message: &ParkedMessage) -> Result<Option<TransactionId>, LogError> {
        let page = self.log.page(message.position - 1, 1).await?;
        let event = page.first().filter(|event| event.aggregate_type == Transaction::TYPE);
        Ok(event.and_then(|event| event.aggregate_uuid().ok()).map(TransactionId))
    }
}
