//! Sends what is due: claims as much as it has room for, tries all of it at once, and claims again as
//! soon as there is room. Any number of senders may run, on any number of machines.
//!
//! An endpoint that keeps a sender waiting shares half of the room with others of its kind, so however
//! many endpoints hang, the prompt ones have the other half for themselves.

use super::attempt::Tools;
use super::claim::{Claimed, Wanted, claim};
use super::{Error, Settings, upkeep};
use crate::telemetry::chain;
use chrono::TimeDelta;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::select;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often the table is looked at when nobody says that something is due.
const POLL: Duration = Duration::from_secs(1);
/// Beyond the timeout of a call, for the database's part of a try.
const TRY_MARGIN: Duration = Duration::from_secs(20);
/// Beyond that, until another sender may take the delivery: clocks differ.
const CLAIM_MARGIN: Duration = Duration::from_secs(30);
/// How long a stop waits for tries under way; what is cut off is tried again when its claim has run out.
const STOP_WAIT: Duration = Duration::from_secs(4);
/// An endpoint whose last try took longer is a slow one.
const SLOW: Duration = Duration::from_secs(1);

/// Sends callbacks. Dropping it in the middle of tries loses nothing: their claims run out.
pub struct Sender {
    tools: Arc<Tools>,
    settings: Settings,
    due: Arc<Notify>,
    prompt: JoinSet<Tried>,
    slow: JoinSet<Tried>,
    slow_endpoints: HashSet<Uuid>,
    served_last: Uuid,
}

/// How long an endpoint has kept us.
struct Tried {
    partner: Uuid,
    took: Duration,
}

impl Sender {
    pub(super) fn new(tools: Tools, settings: Settings, due: Arc<Notify>) -> Self {
        Self {
            tools: Arc::new(tools),
            settings,
            due,
            prompt: JoinSet::new(),
            slow: JoinSet::new(),
            slow_endpoints: HashSet::new(),
            served_last: Uuid::nil(),
        }
    }

    /// Sends until `stop`, then waits a moment for the tries under way.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut upkeep = interval(upkeep::EVERY);
        while !stop.is_cancelled() {
            if let Err(cause) = self.start_due().await {
                tracing::warn!(error = %chain(&cause), "no callbacks could be claimed");
            }
            select! {
                () = stop.cancelled() => {}
                () = self.due.notified() => {}
                () = sleep(POLL) => {}
                _ = upkeep.tick() => upkeep::run(&self.tools.pool, &self.tools.clock).await,
                Some(tried) = self.prompt.join_next() => self.learn(tried),
                Some(tried) = self.slow.join_next() => self.learn(tried),
            }
            while let Some(tried) = self.prompt.try_join_next().or_else(|| self.slow.try_join_next()) {
                self.learn(tried);
            }
        }
        if timeout(STOP_WAIT, self.finish_started()).await.is_err() {
            tracing::info!("stopped in the middle of callbacks: they will be sent again");
        }
    }

    /// One round: tries what is due now, up to the room there is, and waits for it. Returns how many
    /// deliveries were tried; 0 when nothing is due.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn step(&mut self) -> Result<usize, Error> {
        let started = self.start_due().await?;
        self.finish_started().await;
        Ok(started)
    }

    async fn finish_started(&mut self) {
        while let Some(tried) = self.prompt.join_next().await {
            self.learn(tried);
        }
        while let Some(tried) = self.slow.join_next().await {
            self.learn(tried);
        }
    }

    async fn start_due(&mut self) -> Result<usize, Error> {
        let room_for_slow = self.room().min((self.settings.in_flight / 2).saturating_sub(self.slow.len()));
        let slow = match self.slow_endpoints.is_empty() {
            true => Vec::new(),
            false => self.claim(true, room_for_slow).await?,
        };
        let mut started = slow.len();
        for claimed in slow {
            self.slow.spawn(attempt(self.tools.clone(), claimed, self.try_timeout()));
        }
        let prompt = self.claim(false, self.room()).await?;
        started += prompt.len();
        for claimed in prompt {
            self.prompt.spawn(attempt(self.tools.clone(), claimed, self.try_timeout()));
        }
        Ok(started)
    }

    fn room(&self) -> usize {
        self.settings.in_flight.saturating_sub(self.prompt.len() + self.slow.len())
    }

    async fn claim(&mut self, only_slow: bool, limit: usize) -> Result<Vec<Claimed>, Error> {
        if limit == 0 {
            return Ok(Vec::new());
        }
        let now = self.tools.clock.now().utc();
        let held_for = TimeDelta::from_std(self.try_timeout() + CLAIM_MARGIN).unwrap_or(TimeDelta::MAX);
        let slow: Vec<Uuid> = self.slow_endpoints.iter().copied().collect();
        let wanted = Wanted {
            now,
            until: now + held_for,
            slow: &slow,
            only_slow,
            after: self.served_last,
            per_endpoint: self.settings.per_endpoint,
            limit,
        };
        let claimed = claim(&self.tools.pool, wanted).await?;
        let served = claimed.iter().map(|delivery| delivery.partner_id.0);
        let last = served.max_by_key(|partner| (*partner <= self.served_last, *partner));
        self.served_last = last.unwrap_or(self.served_last);
        Ok(claimed)
    }

    fn try_timeout(&self) -> Duration {
        self.settings.timeout + TRY_MARGIN
    }

    fn learn(&mut self, tried: Result<Tried, JoinError>) {
        match tried {
            Ok(Tried { partner, took }) if took > SLOW => {
                self.slow_endpoints.insert(partner);
            }
            Ok(Tried { partner, .. }) => {
                self.slow_endpoints.remove(&partner);
            }
            Err(cause) => {
                tracing::error!(error = %chain(&cause), "a try of a callback ended before its time")
            }
        }
    }
}

async fn attempt(tools: Arc<Tools>, claimed: Claimed, longest: Duration) -> Tried {
    let began = Instant::now();
    match timeout(longest, tools.attempt(&claimed)).await {
        Ok(Ok(())) => {}
        Ok(Err(cause)) => {
            tracing::warn!(delivery_id = %claimed.id, error = %chain(&cause), "what came of a callback is not written down");
        }
        Err(_) => tracing::warn!(delivery_id = %claimed.id, "the database took too long over a callback"),
    }
    Tried { partner: claimed.partner_id.0, took: began.elapsed() }
}
