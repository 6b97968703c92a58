//! `/livez`, `/readyz`, `/metrics`: for machines that watch the service.

use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::{Code, Shared};
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use metrics_process::Collector;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Alive {
    #[schema(example = "ok")]
    status: &'static str,
}

/// Whether it can serve, and with what.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ready {
    status: Readiness,
    parts: Parts,
    /// That the read tables are rebuilt; a follower of the log that keeps restarting, with why; why checkpoints are not signed; and what works, but should be changed: a NATS server that
    /// is too old for analysts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Readiness {
    Ok,
    Degraded,
}

/// `ok`, or what is wrong with the part.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Parts {
    #[schema(example = "ok")]
    postgresql: String,
    #[schema(example = "ok")]
    redis: String,
    #[schema(example = "ok")]
    nats: String,
}

/// Does the process answer
#[utoipa::path(get, path = "/livez", responses((status = 200, description = "It does.", body = Alive)))]
pub(crate) async fn live() -> Json<Alive> {
    Json(Alive { status: "ok" })
}

/// Can it serve
///
/// Without PostgreSQL it cannot, nor when the last write to it failed; without Redis or NATS, while a follower of the
/// log keeps restarting, while checkpoints are not signed because they would contradict earlier ones, or while the read
/// tables are rebuilt (lists are 503 then), it is degraded and serves.
#[utoipa::path(get, path = "/readyz",
    responses((status = 200, description = "It can.", body = Ready)),
    extensions(("x-refusals" = json!(refusals(&[Code::Unavailable])))))]
pub(crate) async fn ready(State(app): State<Shared>) -> Result<Json<Ready>, Problem> {
    let health = app.health.latest().await;
    let degraded = health.redis.is_err() || health.nats.is_err() || !health.impaired.is_empty();
    let state = |part: &Result<(), String>| part.clone().err().unwrap_or_else(|| "ok".to_owned());
    let parts = Parts {
        postgresql: state(&health.postgresql),
        redis: state(&health.redis),
        nats: state(&health.nats),
    };
    match health.postgresql.clone() {
        Ok(()) => {
            let status = if degraded { Readiness::Degraded } else { Readiness::Ok };
            let notes = health.impaired.iter().chain(&health.notes).cloned().collect();
            Ok(Json(Ready { status, parts, notes }))
        }
        Err(why) => Err(Problem::new(Code::Unavailable, why).with("parts", json!(parts))),
    }
}

/// Metrics for Prometheus
#[utoipa::path(get, path = "/metrics", responses((
    status = 200,
    description = "All metrics.",
    content_type = "text/plain; version=0.0.4; charset=utf-8",
    body = String,
    example = "activation_requests_total{status=\"accepted\"} 17\n",
)))]
pub(crate) async fn metrics(State(app): State<Shared>) -> impl IntoResponse {
    Collector::default().collect(); // those of the process, which nobody measures in between
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.metrics.render())
}
