//! `/admin/callbacks`: what partners were told, and what they would not hear.

use super::{Reason, only_reason};
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::fields::Fields;
use crate::http::extract::page::{Page, PageParams};
use crate::http::extract::path;
use crate::http::extract::query::{Parameters, variant};
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::problem::mapping::no_such_callback;
use crate::http::resources::partner_callbacks::{CallbackAttempt, CallbackStatus, CallbackType};
use crate::http::values::{Id, Time};
use crate::http::{Code, Shared};
use crate::processors::callbacks;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// A callback as an operator sees it.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Delivery {
    id: Id,
    partner_id: Id,
    /// The `webhook-id` that the receiver sees.
    event_id: Id,
    #[schema(value_type = CallbackType)]
    r#type: String,
    /// About what; null for a ping.
    #[schema(required)]
    transaction_id: Option<Id>,
    #[schema(example = "https://shop.example/hook")]
    url: String,
    #[schema(value_type = CallbackStatus)]
    status: callbacks::Status,
    /// The newest ones, oldest first.
    #[schema(max_items = 10)]
    attempts: Vec<CallbackAttempt>,
    /// Null unless it is pending.
    #[schema(required, example = json!(null))]
    next_attempt_at: Option<Time>,
    /// The HTTP status of the last attempt.
    #[schema(required, example = 200)]
    last_status: Option<i32>,
    /// Why the last attempt did not count.
    #[schema(required, example = json!(null))]
    last_error: Option<String>,
    /// The beginning of the last answer's body.
    #[schema(required, example = "ok")]
    last_response: Option<String>,
    created_at: Time,
    #[schema(required)]
    delivered_at: Option<Time>,
    /// When somebody last had it sent again.
    #[schema(required, example = json!(null))]
    resent_at: Option<Time>,
}

/// A callback is sent again.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SentAgain {
    id: Id,
    #[schema(example = "The callback is sent again")]
    message: &'static str,
}

type DeliveryPage = Page<Delivery>;

/// Callbacks, newest first
#[utoipa::path(get, path = "/admin/callbacks", security(("Bearer" = ["admin"])),
    params(("status" = CallbackStatus, Query, description = "Only those with this status."), PageParams),
    responses((status = 200, description = "Callbacks.", body = DeliveryPage)))]
pub(crate) async fn list_all(
    State(app): State<Shared>,
    _admin: Admin,
    context: Context,
    parameters: Parameters,
) -> Result<Json<DeliveryPage>, Problem> {
    let (params, status) = PageParams::read(parameters, "callbacks", |parameters| {
        parameters.optional("status", variant::<callbacks::Status>)
    })?;
    let after = params.after()?;
    let slice = app.callbacks.list(status, after, params.limit).await?;
    Ok(Json(params.page(&context, slice.map(Delivery::from))))
}

/// One callback
#[utoipa::path(get, path = "/admin/callbacks/{id}", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The callback.")),
    responses((status = 200, description = "The callback.", body = Delivery)),
    extensions(("x-refusals" = json!(refusals(&[Code::CallbackNotFound])))))]
pub(crate) async fn detail(
    State(app): State<Shared>,
    _admin: Admin,
    path::Id(id): path::Id<Uuid>,
) -> Result<Json<Delivery>, Problem> {
    Ok(Json(app.callbacks.find(id).await?.ok_or_else(no_such_callback)?.into()))
}

/// Send a callback again
///
/// The same bytes under the same `webhook-id`, with all its attempts.
#[utoipa::path(post, path = "/admin/callbacks/{id}/resend", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The callback.")),
    request_body = Option<Reason>,
    responses((status = 202, description = "On its way.", body = SentAgain, headers(("Location")))),
    extensions(("x-refusals" = json!(refusals(&[Code::CallbackNotFound, Code::Conflict])))))]
pub(crate) async fn resend(
    State(app): State<Shared>,
    Admin(admin): Admin,
    path::Id(id): path::Id<Uuid>,
    fields: Option<Fields>,
) -> Result<impl IntoResponse, Problem> {
    let reason = only_reason(fields)?;
    let by = admin.actor().because(reason);
    app.callbacks.resend(id, &by).await?;
    tracing::info!(delivery_id = %id, actor = %by, "callback {id} is sent again by {by}");
    let location = format!("/api/v1/admin/callbacks/{id}/");
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(SentAgain::new(id))))
}

impl SentAgain {
    pub(crate) fn new(id: Uuid) -> Self {
        Self { id: id.into(), message: "The callback is sent again" }
    }
}

impl From<callbacks::Delivery> for Delivery {
    fn from(delivery: callbacks::Delivery) -> Self {
        Self {
            id: delivery.id.into(),
            partner_id: delivery.partner_id.into(),
            event_id: delivery.event_id.into(),
            r#type: delivery.r#type,
            transaction_id: delivery.transaction_id.map(Into::into),
            url: delivery.url,
            status: delivery.status,
            attempts: delivery.attempts.into_iter().map(Into::into).collect(),
            next_attempt_at: delivery.next_attempt_at.map(Into::into),
            last_status: delivery.last_status,
            last_error: delivery.last_error,
            last_response: delivery.last_response,
            created_at: delivery.created_at.into(),
            delivered_at: delivery.delivered_at.map(Into::into),
            resent_at: delivery.resent_at.map(Into::into),
        }
    }
}
