//! `/livez`, `/readyz`, `/metrics`: for machines that watch the service.

use crate::http::Shared;
use crate::http::problem::Problem;
use crate::http::problem::code::Code;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};

/// `GET /livez`: the process answers.
pub(crate) async fn live() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /readyz`: 503 without PostgreSQL; without Redis or NATS the service is degraded and serves.
pub(crate) async fn ready(State(app): State<Shared>) -> Result<Json<Value>, Problem> {
    let health = app.health().await;
    let degraded = health.redis.is_err() || health.nats.is_err();
    let said = |part: &Result<(), String>| part.clone().err().unwrap_or_else(|| "ok".to_owned());
    let parts = json!({
        "postgresql": said(&health.postgresql),
        "redis": said(&health.redis),
        "nats": said(&health.nats),
    });
    match health.postgresql {
        Ok(()) => Ok(Json(json!({"status": if degraded { "degraded" } else { "ok" }, "parts": parts}))),
        Err(why) => Err(Problem::new(Code::Unavailable, why).with("parts", parts)),
    }
}

/// `GET /metrics`: in Prometheus's text format.
pub(crate) async fn metrics(State(app): State<Shared>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.metrics.render())
}
