//! `/admin/schedules`: what runs by the clock.

use crate::http::Shared;
use crate::http::extract::caller::Admin;
use crate::http::problem::Problem;
use crate::http::values::{Id, Time};
use crate::processors::schedules::{RunView, ScheduleView};
use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

/// Runs of each schedule that are shown.
const RUNS: u32 = 20;

/// All schedules.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Schedules {
    #[schema(max_items = 2)]
    results: Vec<Schedule>,
}

/// What runs by the clock.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Schedule {
    #[schema(example = "announce_expiry")]
    name: &'static str,
    /// Minute, hour, day of the month, month, day of the week; in UTC.
    #[schema(example = "0 8 * * *")]
    cron: String,
    #[schema(required)]
    next_due_at: Option<Time>,
    /// Newest first.
    #[schema(max_items = 20)]
    runs: Vec<Run>,
}

/// One run.
#[derive(Serialize, ToSchema)]
#[schema(as = ScheduleRun)]
#[serde(deny_unknown_fields)]
struct Run {
    id: Id,
    /// The time for which it ran.
    due_at: Time,
    started_at: Time,
    #[schema(required)]
    finished_at: Option<Time>,
    /// `running`, `done`, `failed`, `interrupted`.
    #[schema(example = "done")]
    outcome: String,
    /// Subscriptions that were looked at.
    #[schema(value_type = u64, minimum = 0, example = 12)]
    found: i64,
    /// Of those: an event was written.
    #[schema(value_type = u64, minimum = 0, example = 12)]
    changed: i64,
    /// Of those: another run did it, or they were renewed.
    #[schema(value_type = u64, minimum = 0, example = 0)]
    unchanged: i64,
    /// Of those: not done, so the run is repeated.
    #[schema(value_type = u64, minimum = 0, example = 0)]
    failed: i64,
    #[schema(required, example = json!(null))]
    error: Option<String>,
}

/// Schedules, their newest runs and when the next is due
#[utoipa::path(get, path = "/admin/schedules", security(("Bearer" = ["admin"])),
    responses((status = 200, description = "Schedules.", body = Schedules)))]
pub(crate) async fn list_all(State(app): State<Shared>, _admin: Admin) -> Result<Json<Schedules>, Problem> {
    let views = app.schedules.all(RUNS).await?;
    Ok(Json(Schedules { results: views.into_iter().map(Schedule::from).collect() }))
}

impl From<ScheduleView> for Schedule {
    fn from(view: ScheduleView) -> Self {
        Self {
            name: view.name,
            cron: view.when,
            next_due_at: view.next_due_at.map(Into::into),
            runs: view.runs.into_iter().map(Run::from).collect(),
        }
    }
}

impl From<RunView> for Run {
    fn from(run: RunView) -> Self {
        Self {
            id: run.id.into(),
            due_at: run.due_at.into(),
            started_at: run.started_at.into(),
            finished_at: run.finished_at.map(Into::into),
            outcome: run.outcome,
            found: run.found,
            changed: run.changed,
            unchanged: run.unchanged,
            failed: run.failed,
            error: run.error,
        }
    }
}
