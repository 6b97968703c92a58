//! Finds transactions that make no progress, and drives them: an outage of NATS, a lost message or a crash
//! causes a delay and no loss. A transaction that cannot be handled is parked, as its message would be.

use super::consumer;
use super::next::RETRY;
use crate::bus::Bus;
use crate::clock::Clock;
use crate::processors::{ActivationProcessor, Outcome, Parked, Unhandled};
use crate::telemetry::chain;
use futures::StreamExt;
use projections::Readers;
use projections::transaction::Unfinished;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const PERIOD: Duration = Duration::from_secs(2);
/// How long the bus, while it works, has for a transaction that is due.
const AGE: Duration = Duration::from_secs(10);
/// The same while it is behind: it has not delivered a transaction for longer than that.
const AGE_BEHIND: Duration = Duration::from_secs(1);
/// Transactions that are read at a time.
const BATCH: u32 = 1_000;
/// Transactions that are driven at the same time.
const CONCURRENCY: usize = 128;

pub struct Sweeper {
    readers: Readers,
    processor: ActivationProcessor,
    parked: Parked,
    bus: Bus,
    clock: Clock,
}

impl Sweeper {
    /// Drives transactions that are due; without `AGE` while `bus` does not deliver.
    #[must_use]
    pub fn new(
        readers: Readers,
        processor: ActivationProcessor,
        parked: Parked,
        bus: Bus,
        clock: Clock,
    ) -> Self {
        Self { readers, processor, parked, bus, clock }
    }

    /// Sweeps until `stop`, and finishes the transactions that are being driven. What waits for the activation system is
    /// driven when that answers again.
    pub async fn run(self, stop: CancellationToken) {
        tokio::join!(self.sweep_until(&stop), self.processor.resume(&stop));
    }

    async fn sweep_until(&self, stop: &CancellationToken) {
        let mut behind = false;
        while !stop.is_cancelled() {
            match self.sweep(behind, stop).await {
                Ok(undelivered) => behind = undelivered,
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "cannot read the unfinished transactions; retrying: {error}");
                }
            }
            stop.run_until_cancelled(sleep(PERIOD)).await;
        }
    }

    /// Drives all transactions that are due, oldest first. Delayed ones do not hold up the others, however
    /// many they are. Returns whether one of them was never attempted: then the bus is `behind`, as when it
    /// publishes history again, and the next ones do not wait for it.
    async fn sweep(&self, behind: bool, stop: &CancellationToken) -> Result<bool, projections::Error> {
        let (mut found, mut after, mut undelivered) = (0, 0, false);
        loop {
            let age = match self.bus.delivers() {
                true if behind => AGE_BEHIND,
                true => AGE,
                false => Duration::ZERO,
            };
            let now = self.clock.now();
            let due = self.readers.unfinished(now, age, RETRY.first..=RETRY.longest, after, BATCH).await?;
            found += due.len();
            undelivered |= due.iter().any(|unfinished| unfinished.attempts == 0);
            metrics::gauge!("offers_sweeper_due").set(u32::try_from(found).unwrap_or(u32::MAX));
            let more = due.last().filter(|_| due.len() == BATCH as usize).map(|last| last.position);
            let each = futures::stream::iter(due).take_until(stop.cancelled());
            each.for_each_concurrent(CONCURRENCY, |unfinished| self.drive(unfinished)).await;
            match more {
                Some(position) if !stop.is_cancelled() => after = position,
                _ => return Ok(undelivered),
            }
        }
    }

    async fn drive(&self, unfinished: Unfinished) {
        let Unfinished { transaction_id: id, position, attempts, requested_at, .. } = unfinished;
        let outcome = self.processor.drive_unfinished(id, requested_at).await;
        let Outcome::Park { reason } = outcome else { return };
        tracing::error!(transaction_id = %id, reason, "{id} cannot be driven: {reason}");
        let unhandled = Unhandled {
            position,
            subject: "sweeper".to_owned(),
            event_id: None,
            aggregate_id: Some(id.0),
            attempts: i64::from(attempts),
            reason,
        };
        if let Err(error) = self.parked.keep(consumer::NAME, &unhandled).await {
            tracing::error!(error = %chain(&error), transaction_id = %id, "cannot park {id}");
        }
    }
}
