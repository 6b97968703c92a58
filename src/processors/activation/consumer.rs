//! Hands requested activations from the bus to the processor.

use crate::bus::{Bus, Delivery, Handler, Letter, Subscription, Verdict};
use crate::processors::{ActivationProcessor, Cause, Parked};
use domain::TransactionId;
use projections::Readers;
use std::time::Duration;

/// The consumer's name, in NATS and in the table of parked messages.
pub(super) const NAME: &str = "activation";
/// What the log may take beside the call itself.
const COMMIT_TIME: Duration = Duration::from_secs(30);
/// How many purchases are worked on for each call that may be under way: while one calls, others commit
/// what came of theirs, and others wait to call.
const WORKED_ON_A_CALL: u32 = 2;

/// Drives every activation that is requested, until the bus stops.
///
/// `calls` may be under way at once in this process, and each may take `call_timeout`.
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
        in_flight: calls * WORKED_ON_A_CALL,
        // Before its own call it may wait for somebody else's.
        ack_wait: call_timeout * WORKED_ON_A_CALL + COMMIT_TIME,
    };
    bus.consume(subscription, Requested { processor, parked, readers }).await;
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
        self.processor.drive(TransactionId(delivery.aggregate_id), Some(cause)).await
    }

    async fn park(&self, letter: Letter) -> Result<(), BoxError> {
        Ok(self.parked.keep(NAME, &letter).await?)
    }

    async fn finished_before(&self) -> Result<i64, BoxError> {
        Ok(self.readers.finished_before().await?)
    }
}
