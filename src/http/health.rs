//! `/livez`, `/readyz`, `/metrics`: for machines that watch the service.

use super::Shared;
use super::code::Code;
use super::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use domain::TransactionId;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;
use uuid::Uuid;

/// How long a part may take to say that it is there.
const PATIENCE: Duration = Duration::from_secs(2);

/// `GET /livez`: the process answers.
pub(super) async fn live() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /readyz`: 503 without PostgreSQL; without Redis or NATS requests are still served.
pub(super) async fn ready(State(app): State<Shared>) -> Result<Json<Value>, Problem> {
    if !matches!(timeout(PATIENCE, app.log.head()).await, Ok(Ok(_))) {
        return Err(Problem::new(Code::Unavailable, "PostgreSQL does not answer"));
    }
    let nobodys = TransactionId(Uuid::nil());
    let redis = matches!(timeout(PATIENCE, app.hashes.get(nobodys)).await, Ok(Ok(_)));
    let said = |ok| if ok { "ok" } else { "degraded" };
    Ok(Json(json!({"status": said(redis), "parts": {"postgresql": "ok", "redis": said(redis)}})))
}

/// `GET /metrics`: in Prometheus's text format.
pub(super) async fn metrics(State(app): State<Shared>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.metrics.render())
}
