//! What runs at its time: owners are told that an end is near, and ends are recorded.
//!
//! - `due` says, purely, when; `runs` records what was run, and is what `due` decides by;
//! - `orders` is what a run does.
//!
//! Any number of instances may run; the caller makes one of them lead. That two lead for a moment, or
//! that a run is cut off anywhere, is harmless: the subscription decides, and a repeat is nothing.
//!
//! **Architecture Invariant:** the time is told by the `Clock` alone, and what is due depends on nothing
//! in memory: a restart is no special case.

mod due;
mod orders;
mod runs;

pub use due::{History, due, look_again};
pub use runs::{RunOutcome, Tally};

use crate::clock::Clock;
use crate::config::{CronExpression, Schedules};
use crate::event_log::EventLog;
use crate::telemetry::chain;
use chrono::{DateTime, Utc};
use domain::{Metadata, Timestamp};
use futures::future::join_all;
use orders::{Incomplete, Orders, Task};
use projections::Readers;
use runs::Runs;
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// When ends that have come are recorded.
const EXPIRE_EVERY: &str = "* * * * *";
/// The longest that a sleeping scheduler does not look at the clock, which may jump.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long it rests when the record of runs cannot be read or written.
const PAUSE: Duration = Duration::from_secs(5);

/// Runs what is due. Cheap to clone.
#[derive(Clone)]
pub struct Scheduler(Arc<Inner>);

struct Inner {
    log: EventLog,
    readers: Readers,
    clock: Clock,
    runs: Runs,
    schedules: [Schedule; 2],
}

struct Schedule {
    task: Task,
    when: CronExpression,
}

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Of which schedule: `announce_expiry` or `expire`.
    pub schedule: &'static str,
    /// The moment it was run for.
    pub due_at: Timestamp,
    /// How it ended.
    pub outcome: RunOutcome,
    /// What it did.
    pub tally: Tally,
    /// Why it is not done.
    pub error: Option<String>,
}

impl Scheduler {
    /// A scheduler that records its runs through `pool`.
    #[must_use]
    pub fn new(log: EventLog, readers: Readers, pool: PgPool, clock: Clock, settings: &Schedules) -> Self {
        let every_minute = EXPIRE_EVERY.parse().expect("a constant that a test reads");
        let schedules = [
            Schedule { task: Task::Expire, when: every_minute },
            Schedule { task: Task::Announce, when: settings.expiry_schedule.clone() },
        ];
        Self(Arc::new(Inner { log, readers, clock, runs: Runs::new(pool), schedules }))
    }

    /// Runs each schedule at its times, until `stop`. A run that is under way then is broken off between
    /// two orders.
    pub async fn run(self, stop: CancellationToken) {
        join_all(self.0.schedules.iter().map(|schedule| self.0.keep(schedule, &stop))).await;
    }

    /// Runs every schedule that is due at `now`, once, and says what ran.
    ///
    /// # Errors
    /// The record of runs cannot be read or written.
    pub async fn run_due(&self, now: Timestamp, stop: &CancellationToken) -> Result<Vec<Run>, sqlx::Error> {
        let mut ran = Vec::new();
        for schedule in &self.0.schedules {
            let history = self.0.runs.history(schedule.task.name()).await?;
            if let Some(due_at) = due(&schedule.when, history, now.utc()) {
                ran.push(self.0.run_once(schedule.task, due_at, now, stop).await?);
            }
        }
        Ok(ran)
    }
}

impl Inner {
    async fn keep(&self, schedule: &Schedule, stop: &CancellationToken) {
        let mut nothing_until = None;
        while !stop.is_cancelled() {
            let now = self.clock.now();
            let mut rest = LOOK_EVERY;
            if nothing_until.is_none_or(|moment| moment <= now.utc()) {
                match self.step(schedule, now, stop).await {
                    Ok(moment) => nothing_until = moment,
                    Err(cause) => {
                        let name = schedule.task.name();
                        tracing::warn!(schedule = name, error = %chain(&cause), "{name} cannot be scheduled now");
                        (nothing_until, rest) = (None, PAUSE);
                    }
                }
            }
            if let Some(moment) = nothing_until {
                let ahead = moment - self.clock.now().utc();
                rest = rest.min(ahead.to_std().unwrap_or_default());
            }
            stop.run_until_cancelled(sleep(rest)).await;
        }
    }

    /// Runs `schedule` if it is due; until when there is nothing to do.
    async fn step(
        &self,
        schedule: &Schedule,
        now: Timestamp,
        stop: &CancellationToken,
    ) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
        let name = schedule.task.name();
        let mut history = self.runs.history(name).await?;
        if let Some(due_at) = due(&schedule.when, history, now.utc()) {
            self.run_once(schedule.task, due_at, now, stop).await?;
            history = self.runs.history(name).await?;
        }
        Ok(look_again(&schedule.when, history, now.utc()))
    }

    async fn run_once(
        &self,
        task: Task,
        due_at: DateTime<Utc>,
        now: Timestamp,
        stop: &CancellationToken,
    ) -> Result<Run, sqlx::Error> {
        let began = std::time::Instant::now();
        let id = self.runs.begin(task.name(), due_at, now.utc()).await?;
        let metadata = Metadata { correlation_id: Some(id.to_string()), ..Metadata::system("scheduler") };
        let (log, readers, clock) = (&self.log, &self.readers, &self.clock);
        let (tally, refused) = (Tally::default(), None);
        let mut orders = Orders { log, readers, clock, task, now, metadata, stop, tally, refused };
        let given = orders.give().await;
        let outcome = match &given {
            Ok(()) => RunOutcome::Done,
            Err(Incomplete::Stopped) => RunOutcome::Interrupted,
            Err(_) => RunOutcome::Failed,
        };
        let error = given.err().map(|why| chain(&why));
        let run = Run { schedule: task.name(), due_at: due_at.into(), outcome, tally: orders.tally, error };
        tell(&run, now, began.elapsed());
        self.runs.finish(id, self.clock.now().utc(), outcome, run.tally, run.error.as_deref()).await?;
        if task == Task::Announce {
            self.runs.forget_old(now.utc()).await?; // as often as is enough
        }
        Ok(run)
    }
}

/// Logs and measures one run.
fn tell(run: &Run, now: Timestamp, took: Duration) {
    let Run { schedule, due_at, outcome, tally, error } = run;
    let lag = (now.utc() - due_at.utc()).to_std().unwrap_or_default();
    let outcome = outcome.as_str();
    metrics::counter!("offers_schedule_runs_total", "schedule" => *schedule, "outcome" => outcome)
        .increment(1);
    metrics::gauge!("offers_schedule_lag_seconds", "schedule" => *schedule).set(lag.as_secs_f64());
    metrics::histogram!("offers_schedule_run_seconds", "schedule" => *schedule).record(took.as_secs_f64());
    for (name, number) in
        [("changed", tally.changed), ("unchanged", tally.unchanged), ("failed", tally.failed)]
    {
        metrics::counter!("offers_schedule_orders_total", "schedule" => *schedule, "outcome" => name)
            .increment(number);
    }
    let Tally { found, changed, failed, .. } = tally;
    match error {
        None if *found == 0 => tracing::debug!(schedule, %due_at, "{schedule} had nothing to do"),
        None => tracing::info!(schedule, %due_at, found, changed, "{schedule} changed {changed} of {found}"),
        Some(error) => {
            tracing::warn!(schedule, %due_at, found, changed, failed, error, "{schedule} is {outcome}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constant_is_an_expression() {
        assert!(EXPIRE_EVERY.parse::<CronExpression>().is_ok());
    }
}
