//! Finds purchases that nobody brings further, and drives them: so an outage of NATS, a lost message or
//! a crash delays and loses nothing.

use super::{ActivationProcessor, backoff};
use crate::bus::{Bus, Verdict};
use crate::clock::Clock;
use futures::StreamExt;
use projections::Readers;
use projections::transaction::Unfinished;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// How often it looks.
const PERIOD: Duration = Duration::from_secs(2);
/// How long after its time a purchase is left to the bus while that works.
const AGE: Duration = Duration::from_secs(10);
/// How many are taken at a time.
const BATCH: u32 = 1_000;
/// How many of them are driven at once.
const CONCURRENCY: usize = 128;
/// The pause after a full batch; the read tables need a moment to show what was done.
const SHORT_PAUSE: Duration = Duration::from_millis(200);

/// Drives what is due, again and again.
pub struct Sweeper {
    readers: Readers,
    processor: ActivationProcessor,
    bus: Bus,
    clock: Clock,
}

impl Sweeper {
    /// A sweeper that drives by `processor` what `readers` show, at once when `bus` does not deliver.
    #[must_use]
    pub fn new(readers: Readers, processor: ActivationProcessor, bus: Bus, clock: Clock) -> Self {
        Self { readers, processor, bus, clock }
    }

    /// Sweeps until `stop`; what is being driven then is driven to its end.
    pub async fn run(self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let pause = match self.sweep(&stop).await {
                Ok(found) if found >= BATCH as usize => SHORT_PAUSE,
                Ok(_) => PERIOD,
                Err(error) => {
                    tracing::warn!(%error, "cannot look for unfinished transactions: {error}");
                    PERIOD
                }
            };
            stop.run_until_cancelled(sleep(pause)).await;
        }
    }

    /// Drives what is due now, and says how many that were.
    async fn sweep(&self, stop: &CancellationToken) -> Result<usize, projections::Error> {
        let age = if self.bus.delivers() { AGE } else { Duration::ZERO };
        let now = self.clock.now();
        let due = self.readers.unfinished(now, age, backoff::BACKOFF, BATCH).await?;
        let found = due.len();
        metrics::gauge!("offers_sweeper_due").set(u32::try_from(found).unwrap_or(u32::MAX));
        let each = futures::stream::iter(due).take_until(stop.cancelled());
        each.for_each_concurrent(CONCURRENCY, |Unfinished { transaction_id: id, .. }| async move {
            if let Verdict::Park { reason } = self.processor.drive(id, None).await {
                tracing::error!(transaction_id = %id, reason, "{id} cannot be driven: {reason}");
            }
        })
        .await;
        Ok(found)
    }
}
