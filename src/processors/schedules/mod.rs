//! The scheduler: announces the end of subscriptions, and records ends that have come.
//!
//! - `due` decides, as a pure function, when a task runs, by the table of `runs`;
//! - `commands` is one run.
//!
//! The caller makes one instance lead. Two leaders for a moment, or an aborted run, are harmless: the
//! subscription decides, and a repeated command changes nothing.
//!
//! **Architecture Invariant:** time comes from the `Clock` alone, and what is due depends on nothing in memory:
//! a restart is no special case.

mod commands;
mod due;
mod overview;
mod runs;

pub use due::{History, due, next_check};
pub use overview::{ScheduleError, ScheduleOverview, ScheduleView};
pub use runs::{RunOutcome, RunView, Tally};

use crate::clock::Clock;
use crate::config::{CronExpression, Schedules};
use crate::event_log::EventLog;
use crate::telemetry::chain;
use chrono::{DateTime, Utc};
use commands::{Incomplete, Task, TaskRun};
use domain::{Metadata, Timestamp};
use futures::future::join_all;
use projections::Readers;
use runs::Runs;
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const EXPIRE_EVERY: &str = "* * * * *";
/// The longest sleep: the clock may jump.
const SLEEP_MAX: Duration = Duration::from_secs(1);
/// The delay after the table of runs could not be read or written.
const DATABASE_RETRY: Duration = Duration::from_secs(5);

/// Runs tasks that are due. Cheap to clone.
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// `announce_expiry` or `expire`.
    pub schedule: &'static str,
    /// The time for which it ran.
    pub due_at: Timestamp,
    pub outcome: RunOutcome,
    pub tally: Tally,
    pub error: Option<String>,
}

impl Scheduler {
    /// A scheduler with its table of runs in `pool`.
    #[must_use]
    pub fn new(log: EventLog, readers: Readers, pool: PgPool, clock: Clock, settings: &Schedules) -> Self {
        let (runs, schedules) = (Runs::new(pool), schedules(settings));
        Self(Arc::new(Inner { log, readers, clock, runs, schedules }))
    }

    /// Runs each schedule at its times until `stop`, which aborts a run between two commands.
    pub async fn run(self, stop: CancellationToken) {
        join_all(self.0.schedules.iter().map(|schedule| self.0.run_schedule(schedule, &stop))).await;
    }

    /// Runs every schedule that is due at `now`, once, and returns the runs.
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
    async fn run_schedule(&self, schedule: &Schedule, stop: &CancellationToken) {
        let mut nothing_until = None;
        while !stop.is_cancelled() {
            let now = self.clock.now();
            let mut delay = SLEEP_MAX;
            if nothing_until.is_none_or(|moment| moment <= now.utc()) {
                match self.step(schedule, now, stop).await {
                    Ok(moment) => nothing_until = moment,
                    Err(cause) => {
                        let name = schedule.task.name();
                        tracing::warn!(schedule = name, error = %chain(&cause), "cannot schedule {name}; retrying");
                        (nothing_until, delay) = (None, DATABASE_RETRY);
                    }
                }
            }
            if let Some(moment) = nothing_until {
                let ahead = moment - self.clock.now().utc();
                delay = delay.min(ahead.to_std().unwrap_or_default());
            }
            stop.run_until_cancelled(sleep(delay)).await;
        }
    }

    /// Runs `schedule` if it is due, and returns the time until which there is nothing to do.
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
        Ok(next_check(&schedule.when, history, now.utc()))
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
        let metadata = Metadata::system("scheduler", id);
        let (log, readers, clock) = (&self.log, &self.readers, &self.clock);
        let (tally, refused) = (Tally::default(), None);
        let mut task_run = TaskRun { log, readers, clock, task, now, metadata, stop, tally, refused };
        let result = task_run.run().await;
        let outcome = match &result {
            Ok(()) => RunOutcome::Done,
            Err(Incomplete::Stopped) => RunOutcome::Interrupted,
            Err(_) => RunOutcome::Failed,
        };
        let error = result.err().map(|why| chain(&why));
        let run = Run { schedule: task.name(), due_at: due_at.into(), outcome, tally: task_run.tally, error };
        report(&run, now, began.elapsed());
        self.runs.finish(id, self.clock.now().utc(), outcome, run.tally, run.error.as_deref()).await?;
        if task == Task::Announce {
            self.runs.forget_old(now.utc()).await?; // a daily task: often enough
        }
        Ok(run)
    }
}

fn schedules(settings: &Schedules) -> [Schedule; 2] {
    let every_minute = EXPIRE_EVERY.parse().expect("a constant that a test parses");
    [
        Schedule { task: Task::Expire, when: every_minute },
        Schedule { task: Task::Announce, when: settings.expiry_schedule.clone() },
    ]
}

/// Logs and measures one run.
fn report(run: &Run, now: Timestamp, took: Duration) {
    let Run { schedule, due_at, outcome, tally, error } = run;
    let lag = (now.utc() - due_at.utc()).to_std().unwrap_or_default();
    let outcome = outcome.into_str();
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
