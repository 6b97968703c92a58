//! Sends deliveries that are due: claims as many as it has capacity for, attempts them at the same time, and
//! claims again when there is capacity. Any number of senders may run, on any number of machines.
//!
//! Slow endpoints share half of the capacity, so however many endpoints hang, the other half is left for the
//! prompt ones.

use super::attempt::AttemptContext;
use super::claim::{ClaimRequest, Claimed, claim, renew};
use super::{Error, Settings, upkeep};
use crate::processors::claims::{PAUSE, hold};
use crate::telemetry::chain;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::select;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Interval of polls without a notification.
const POLL: Duration = Duration::from_secs(1);
/// For the database's part of an attempt, in addition to the timeout of the request.
const ATTEMPT_MARGIN: Duration = Duration::from_secs(20);
/// How long a stop waits for running attempts; aborted ones are repeated when their claims have expired.
const STOP_WAIT: Duration = Duration::from_secs(4);
/// An endpoint whose last attempt took longer is slow.
const SLOW: Duration = Duration::from_secs(1);

/// Sends callbacks. Dropping it during attempts loses nothing: their claims expire.
pub struct Sender {
    context: Arc<AttemptContext>,
    settings: Settings,
    due: Arc<Notify>,
    prompt: JoinSet<Attempted>,
    slow: JoinSet<Attempted>,
    slow_endpoints: HashSet<Uuid>,
    served_last: Uuid,
}

/// The duration of an attempt.
struct Attempted {
    partner: Uuid,
    took: Duration,
}

impl Sender {
    pub(super) fn new(context: AttemptContext, settings: Settings, due: Arc<Notify>) -> Self {
        Self {
            context: Arc::new(context),
            settings,
            due,
            prompt: JoinSet::new(),
            slow: JoinSet::new(),
            slow_endpoints: HashSet::new(),
            served_last: Uuid::nil(),
        }
    }

    /// Sends until `stop`, then waits a moment for running attempts.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut upkeep = interval(upkeep::EVERY);
        while !stop.is_cancelled() {
            if let Err(cause) = self.start_due().await {
                tracing::warn!(error = %chain(&cause), "cannot claim callbacks; retrying");
                stop.run_until_cancelled(sleep(PAUSE)).await;
            }
            select! {
                () = stop.cancelled() => {}
                () = self.due.notified() => {}
                () = sleep(POLL) => {}
                _ = upkeep.tick() => upkeep::run(&self.context.pool, &self.context.clock).await,
                Some(attempted) = self.prompt.join_next() => self.note(attempted),
                Some(attempted) = self.slow.join_next() => self.note(attempted),
            }
            while let Some(attempted) = self.prompt.try_join_next().or_else(|| self.slow.try_join_next()) {
                self.note(attempted);
            }
        }
        if timeout(STOP_WAIT, self.finish_started()).await.is_err() {
            tracing::info!("stopped during callbacks; they will be sent again");
        }
    }

    /// Attempts the deliveries that are due now, up to the capacity, and waits for them. Returns their number.
    pub async fn step(&mut self) -> Result<usize, Error> {
        let started = self.start_due().await?;
        self.finish_started().await;
        Ok(started)
    }

    async fn finish_started(&mut self) {
        while let Some(attempted) = self.prompt.join_next().await {
            self.note(attempted);
        }
        while let Some(attempted) = self.slow.join_next().await {
            self.note(attempted);
        }
    }

    async fn start_due(&mut self) -> Result<usize, Error> {
        let capacity_for_slow =
            self.capacity().min((self.settings.in_flight / 2).saturating_sub(self.slow.len()));
        let slow = match self.slow_endpoints.is_empty() {
            true => Vec::new(),
            false => self.claim(true, capacity_for_slow).await?,
        };
        let mut started = slow.len();
        for claimed in slow {
            self.slow.spawn(attempt(self.context.clone(), claimed, self.attempt_timeout()));
        }
        let prompt = self.claim(false, self.capacity()).await?;
        started += prompt.len();
        for claimed in prompt {
            self.prompt.spawn(attempt(self.context.clone(), claimed, self.attempt_timeout()));
        }
        Ok(started)
    }

    fn capacity(&self) -> usize {
        self.settings.in_flight.saturating_sub(self.prompt.len() + self.slow.len())
    }

    async fn claim(&mut self, only_slow: bool, limit: usize) -> Result<Vec<Claimed>, Error> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let now = self.context.clock.now().utc();
        let slow: Vec<Uuid> = self.slow_endpoints.iter().copied().collect();
        let request = ClaimRequest {
            now,
            slow: &slow,
            only_slow,
            after: self.served_last,
            per_endpoint: self.settings.per_endpoint,
            limit,
        };
        let claimed = claim(&self.context.pool, request).await?;
        let served = claimed.iter().map(|delivery| delivery.partner_id.0);
        let last = served.max_by_key(|partner| (*partner <= self.served_last, *partner));
        self.served_last = last.unwrap_or(self.served_last);
        Ok(claimed)
    }

    fn attempt_timeout(&self) -> Duration {
        self.settings.timeout + ATTEMPT_MARGIN
    }

    fn note(&mut self, attempted: Result<Attempted, JoinError>) {
        match attempted {
            Ok(Attempted { partner, took }) if took > SLOW => {
                self.slow_endpoints.insert(partner);
            }
            Ok(Attempted { partner, .. }) => {
                self.slow_endpoints.remove(&partner);
            }
            Err(cause) => {
                tracing::error!(error = %chain(&cause), "an attempt of a callback panicked");
            }
        }
    }
}

async fn attempt(context: Arc<AttemptContext>, claimed: Claimed, longest: Duration) -> Attempted {
    let began = Instant::now();
    let attempt = timeout(longest, context.attempt(&claimed));
    match hold(attempt, || renew(&context.pool, &claimed)).await {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => {
            tracing::warn!(delivery_id = %claimed.id, error = %chain(&cause), "cannot record the result of a callback; it will be sent again");
        }
        Err(_) => {
            tracing::warn!(delivery_id = %claimed.id, "the database was too slow for a callback; it will be sent again");
        }
    }
    Attempted { partner: claimed.partner_id.0, took: began.elapsed() }
}
