//! `/admin/parked`: what a processor could not handle.

use super::{Reason, only_reason};
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::fields::Fields;
use crate::http::extract::page::{Page, PageParams};
use crate::http::extract::path;
use crate::http::extract::query::Parameters;
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::values::{Id, Position, Time};
use crate::http::{Code, Shared};
use crate::processors::ParkedMessage;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A message that a processor could not handle.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Parked {
    id: Id,
    /// Who could not handle it.
    #[schema(example = "activation")]
    consumer: String,
    position: Position,
    #[schema(example = "offers.events.transaction.activation_requested")]
    subject: String,
    #[schema(required)]
    event_id: Option<Id>,
    #[schema(required)]
    aggregate_id: Option<Id>,
    /// Why.
    #[schema(example = "the event cannot be read")]
    reason: String,
    /// Deliveries until it was given up.
    #[schema(value_type = u64, minimum = 0, example = 5)]
    attempts: i64,
    parked_at: Time,
    /// When somebody sent it back to work.
    #[schema(required, example = json!(null))]
    requeued_at: Option<Time>,
    /// When a processor took it up since.
    #[schema(required, example = json!(null))]
    resumed_at: Option<Time>,
}

/// A message is tried again.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Requeued {
    id: Id,
    position: Position,
    #[schema(example = "The message is taken up again")]
    message: &'static str,
}

type ParkedPage = Page<Parked>;

/// What could not be handled, newest first
#[utoipa::path(get, path = "/admin/parked", security(("Bearer" = ["admin"])), params(PageParams),
    responses((status = 200, description = "Messages that wait for a person.", body = ParkedPage)))]
pub(crate) async fn list_all(
    State(app): State<Shared>,
    _admin: Admin,
    context: Context,
    parameters: Parameters,
) -> Result<Json<ParkedPage>, Problem> {
    let (params, ()) = PageParams::read(parameters, "parked", |_| ())?;
    let slice = app.parked.waiting(params.after()?, params.limit).await?;
    Ok(Json(params.page(&context, slice.map(Parked::from))))
}

/// One parked message
#[utoipa::path(get, path = "/admin/parked/{id}", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The message.")),
    responses((status = 200, description = "The message, also after it was sent back to work.", body = Parked)),
    extensions(("x-refusals" = json!(refusals(&[Code::ParkedNotFound])))))]
pub(crate) async fn detail(
    State(app): State<Shared>,
    _admin: Admin,
    path::Id(id): path::Id<Uuid>,
) -> Result<Json<Parked>, Problem> {
    Ok(Json(app.parked.find(id).await?.ok_or_else(no_such_message)?.into()))
}

/// Try a parked message again
///
/// A message that still cannot be handled waits here again.
#[utoipa::path(post, path = "/admin/parked/{id}/requeue", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The message.")),
    request_body = Option<Reason>,
    responses((status = 202, description = "A processor takes it up within seconds.", body = Requeued,
        headers(("Location")))),
    extensions(("x-refusals" = json!(refusals(&[Code::ParkedNotFound, Code::Conflict])))))]
pub(crate) async fn requeue(
    State(app): State<Shared>,
    Admin(admin): Admin,
    path::Id(id): path::Id<Uuid>,
    fields: Option<Fields>,
) -> Result<impl IntoResponse, Problem> {
    let reason = only_reason(fields)?;
    let by = admin.actor().because(reason);
    let Some(message) = app.parked.requeue(id, &by, app.clock.now().utc()).await? else {
        let message = app.parked.find(id).await?.ok_or_else(no_such_message)?;
        return Err(already_requeued(&message));
    };
    tracing::info!(parked_id = %id, actor = %by, "parked message {id} is requeued by {by}");
    let location = format!("/api/v1/admin/parked/{id}/");
    let body = Requeued {
        id: id.into(),
        position: Position(message.position),
        message: "The message is taken up again",
    };
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(body)))
}

fn already_requeued(message: &ParkedMessage) -> Problem {
    let by = message.requeued_by.as_deref().unwrap_or("somebody");
    let when = message.requeued_at.map(|at| format!(" at {at}")).unwrap_or_default();
    Problem::new(Code::Conflict, format!("The message was requeued already, by {by}{when}"))
}

impl From<ParkedMessage> for Parked {
    fn from(message: ParkedMessage) -> Self {
        Self {
            id: message.id.into(),
            consumer: message.consumer,
            position: Position(message.position),
            subject: message.subject,
            event_id: message.event_id.map(Into::into),
            aggregate_id: message.aggregate_id.map(Into::into),
            reason: message.reason,
            attempts: message.attempts,
            parked_at: message.parked_at.into(),
            requeued_at: message.requeued_at.map(Into::into),
            resumed_at: message.resumed_at.map(Into::into),
        }
    }
}

fn no_such_message() -> Problem {
    Problem::new(Code::ParkedNotFound, "No such message waits")
}
