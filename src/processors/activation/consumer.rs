//! Hands requested activations from the bus to the processor.

use super::attempts::RUNNING_RETRY;
use crate::bus::{Bus, Delivery, Handler, Subscription, UndeliverableMessage, Verdict};
use crate::failpoint::{Step, failpoint};
use crate::processors::{ActivationProcessor, Cause, Outcome, Parked};
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

/// The name of the consumer of orders to retry.
const RETRY_NAME: &str = "activation-retry";

/// Drives every requested activation, and every one that a person wants retried, until the bus stops.
///
/// At most `calls` of them run at the same time in this process, each at most for `call_timeout`.
pub async fn consume_activations(
    bus: Bus,
    processor: ActivationProcessor,
    parked: Parked,
    readers: Readers,
    calls: u32,
    call_timeout: Duration,
) {
    let subscription = |durable: &str, event| Subscription {
        durable: durable.to_owned(),
        event: ("Transaction", event),
        in_flight: calls * HANDLED_PER_CALL,
        // A call may wait for another one first, and a look-up goes before an activation.
        ack_wait: call_timeout * (HANDLED_PER_CALL + 1) + COMMIT_TIME,
    };
    let requested = Requested { processor, parked, readers };
    let retries = Retries(requested.clone());
    tokio::join!(
        bus.consume(subscription(NAME, "ActivationRequested"), requested),
        bus.consume(subscription(RETRY_NAME, "RetryRequested"), retries),
    );
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

#[derive(Clone)]
struct Requested {
    processor: ActivationProcessor,
    parked: Parked,
    readers: Readers,
}

impl Handler for Requested {
    async fn handle(&self, delivery: Delivery) -> Verdict {
        failpoint(Step::Delivered);
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

/// Orders to retry: the transaction does not wait for its delay.
struct Retries(Requested);

impl Handler for Retries {
    async fn handle(&self, delivery: Delivery) -> Verdict {
        let id = TransactionId(delivery.aggregate_id);
        if self.0.processor.is_running(id) {
            return Verdict::RetryAfter(RUNNING_RETRY); // what runs was begun before the order
        }
        match self.0.processor.drive_now(id).await {
            // The message of the request or the sweeper brings it back.
            Outcome::Done | Outcome::RetryAfter(_) => Verdict::Done,
            park @ Outcome::Park { .. } => park.into(),
        }
    }

    async fn park(&self, message: UndeliverableMessage) -> Result<(), BoxError> {
        self.0.park(message).await
    }

    async fn finished_before(&self) -> Result<i64, BoxError> {
        self.0.finished_before().await
    }
}
