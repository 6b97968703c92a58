//! Hands requested activations from the bus to the processor.

use crate::bus::{Bus, Delivery, Handler, Subscription, UndeliverableMessage, Verdict};
use crate::processors::{ActivationProcessor, Cause, Parked};
use domain::TransactionId;
use projections::Readers;
use std::time::Duration;

/// The consumer's name, in NATS and in the table of parked messages.
pub(super) const NAME: &str = "activation";
/// The limit for reading and writing the log, in addition to the call.
const COMMIT_TIME: Duration = Duration::from_secs(30);
/// Transactions that are handled for each concurrent call: while one calls, another commits its outcome or
/// waits to call.
const HANDLED_PER_CALL: u32 = 2;

/// Drives every requested activation until the bus stops.
///
/// At most `calls` run at the same time in this process, each at most for `call_timeout`.
pub async fn consume_activations(
    bus: Bus,
    processor: ActivationProcessor,
    parked: Parked,
    readers: Readers,
    calls: u32,
    call_timeout: Duration,
) {
    let subscription = Subscription {
        durable: NAME.to_owned(),
        event: ("Transaction", "ActivationRequested"),
        in_flight: calls * HANDLED_PER_CALL,
        // A call may wait for another one first.
        ack_wait: call_timeout * HANDLED_PER_CALL + COMMIT_TIME,
    };
    bus.consume(subscription, Requested { processor, parked, readers }).await;
}

impl From<&Delivery> for Cause {
    fn from(delivery: &Delivery) -> Self {
        Self {
            event_id: delivery.event_id,
            requested_at: delivery.recorded_at,
            correlation_id: delivery.correlation_id,
            traceparent: delivery.traceparent.clone(),
        }
    }
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;

struct Requested {
    processor: ActivationProcessor,
    parked: Parked,
    readers: Readers,
}

impl Handler for Requested {
    async fn handle(&self, delivery: Delivery) -> Verdict {
        let cause = Cause::from(&delivery);
        self.processor.drive(TransactionId(delivery.aggregate_id), Some(cause)).await.into()
    }

    async fn park(&self, message: UndeliverableMessage) -> Result<(), BoxError> {
        Ok(self.parked.keep(NAME, &message.into()).await?)
    }

    async fn finished_before(&self) -> Result<i64, BoxError> {
        Ok(self.readers.finished_before().await?)
    }
}
