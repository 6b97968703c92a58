//! The schedules with their runs, for administrators.

use super::runs::{RunView, Runs};
use super::schedules;
use crate::clock::Clock;
use crate::config::{CronExpression, Schedules};
use domain::Timestamp;
use sqlx::PgPool;
use std::sync::Arc;

/// A schedule, its newest runs and the next one.
#[derive(Clone, Debug)]
pub struct ScheduleView {
    /// `announce_expiry` or `expire`.
    pub name: &'static str,
    /// A cron expression, in UTC.
    pub when: String,
    pub next_due_at: Option<Timestamp>,
    /// Newest first.
    pub runs: Vec<RunView>,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot read the table of runs")]
pub struct ScheduleError(#[from] sqlx::Error);

/// Cheap to clone.
#[derive(Clone)]
pub struct ScheduleOverview {
    runs: Runs,
    clock: Clock,
    schedules: Arc<[(&'static str, CronExpression)]>,
}

impl ScheduleOverview {
    #[must_use]
    pub fn new(pool: PgPool, clock: Clock, settings: &Schedules) -> Self {
        let named = schedules(settings).map(|schedule| (schedule.task.name(), schedule.when));
        Self { runs: Runs::new(pool), clock, schedules: named.into() }
    }

    /// Every schedule, with at most `runs` of its runs.
    pub async fn all(&self, runs: u32) -> Result<Vec<ScheduleView>, ScheduleError> {
        let mut views = Vec::new();
        for (name, when) in self.schedules.iter() {
            views.push(ScheduleView {
                name,
                when: when.to_string(),
                next_due_at: when.next(self.clock.now().utc()).map(Timestamp::new),
                runs: self.runs.newest(name, runs).await?,
            });
        }
        Ok(views)
    }
}
