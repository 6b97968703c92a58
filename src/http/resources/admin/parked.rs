//! `/admin/parked`: what a processor could not handle.

use super::only_reason;
use crate::http::Shared;
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::fields::Fields;
use crate::http::extract::page::PageParams;
use crate::http::extract::path::Id;
use crate::http::extract::query::Parameters;
use crate::http::problem::Problem;
use crate::http::problem::code::Code;
use crate::processors::ParkedMessage;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use chrono::DateTime;
use domain::Timestamp;
use serde_json::{Value, json};
use uuid::Uuid;

/// `GET /admin/parked/`: those that wait for a person.
pub(crate) async fn list_all(
    State(app): State<Shared>,
    _admin: Admin,
    context: Context,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (params, ()) = PageParams::read(parameters, "parked", |_| ())?;
    let after = params.key(moment_and_id)?;
    let mut found = app.parked.waiting(after, params.limit + 1).await?;
    let more = found.len() > params.limit as usize;
    found.truncate(params.limit as usize);
    let last = found.last().filter(|_| more);
    let next = last.map(|last| format!("{}|{}", last.parked_at.utc().timestamp_micros(), last.id));
    Ok(params.answer(&context, found.iter().map(shown).collect(), next))
}

/// `GET /admin/parked/{id}/`: also after it was sent back to work.
pub(crate) async fn detail(
    State(app): State<Shared>,
    _admin: Admin,
    Id(id): Id<Uuid>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(shown(&app.parked.find(id).await?.ok_or_else(no_such_message)?)))
}

/// `POST /admin/parked/{id}/requeue/`: a processor takes it up within seconds; what still cannot be handled
/// waits here again.
pub(crate) async fn requeue(
    State(app): State<Shared>,
    Admin(admin): Admin,
    Id(id): Id<Uuid>,
    fields: Option<Fields>,
) -> Result<impl IntoResponse, Problem> {
    let reason = only_reason(fields)?;
    let by = admin.actor();
    let message = app.parked.requeue(id, by.as_str()).await?.ok_or_else(no_such_message)?;
    tracing::info!(parked_id = %id, actor = %by, reason, "parked message {id} is requeued by {by}");
    let location = format!("/api/v1/admin/parked/{id}/");
    let body = json!({"id": id, "position": message.position, "message": "The message is taken up again"});
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(body)))
}

fn moment_and_id(key: &str) -> Option<(Timestamp, Uuid)> {
    let (moment, id) = key.split_once('|')?;
    let moment = DateTime::from_timestamp_micros(moment.parse().ok()?)?;
    Some((Timestamp::new(moment), id.parse().ok()?))
}

fn shown(message: &ParkedMessage) -> Value {
    json!({
        "id": message.id,
        "consumer": message.consumer,
        "position": message.position,
        "subject": message.subject,
        "event_id": message.event_id,
        "aggregate_id": message.aggregate_id,
        "reason": message.reason,
        "attempts": message.attempts,
        "parked_at": message.parked_at,
        "requeued_at": message.requeued_at,
        "resumed_at": message.resumed_at,
    })
}

fn no_such_message() -> Problem {
    Problem::new(Code::ParkedNotFound, "No such message waits")
}
