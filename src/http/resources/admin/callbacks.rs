//! `/admin/callbacks`: what partners were told, and what they would not hear.

use super::only_reason;
use crate::http::Shared;
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::fields::Fields;
use crate::http::extract::page::PageParams;
use crate::http::extract::path::Id;
use crate::http::extract::query::{Parameters, variant};
use crate::http::extract::values::parse_uuid;
use crate::http::problem::Problem;
use crate::http::problem::mapping::no_such_callback;
use crate::processors::callbacks::Delivery;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use uuid::Uuid;

/// `GET /admin/callbacks/?status=`
pub(crate) async fn list_all(
    State(app): State<Shared>,
    _admin: Admin,
    context: Context,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (params, status) =
        PageParams::read(parameters, "callbacks", |parameters| parameters.optional("status", variant))?;
    let after = params.key(parse_uuid)?;
    let slice = app.callbacks.list(status, after, params.limit).await?;
    Ok(params.answer(&context, slice.items, slice.next.map(|id| id.to_string())))
}

/// `GET /admin/callbacks/{id}/`
pub(crate) async fn detail(
    State(app): State<Shared>,
    _admin: Admin,
    Id(id): Id<Uuid>,
) -> Result<Json<Delivery>, Problem> {
    Ok(Json(app.callbacks.find(id).await?.ok_or_else(no_such_callback)?))
}

/// `POST /admin/callbacks/{id}/resend/`: the same bytes under the same `webhook-id`, with all its tries.
pub(crate) async fn resend(
    State(app): State<Shared>,
    Admin(admin): Admin,
    Id(id): Id<Uuid>,
    fields: Option<Fields>,
) -> Result<impl IntoResponse, Problem> {
    let reason = only_reason(fields)?;
    app.callbacks.resend(id).await?;
    let by = admin.actor();
    tracing::info!(delivery_id = %id, actor = %by, reason, "callback {id} is sent again by {by}");
    let location = format!("/api/v1/admin/callbacks/{id}/");
    let body = json!({"id": id, "message": "The callback is sent again"});
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(body)))
}
