//! `/partner/callbacks`: a ping, and what became of a callback.

use crate::http::extract::caller::Partner;
use crate::http::extract::path;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::problem::mapping::no_such_callback;
use crate::http::values::{Id, Time};
use crate::http::{Code, Shared};
use crate::processors::callbacks;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Serialize;
use strum::VariantNames;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

/// A ping is on its way.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PingSent {
    /// Of the callback.
    id: Id,
    #[schema(example = "A ping is on its way to the registered URL")]
    message: &'static str,
}

/// Something that a partner is told.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Callback {
    id: Id,
    /// The `webhook-id` that the receiver sees.
    webhook_id: Id,
    #[schema(value_type = CallbackType)]
    r#type: String,
    /// About what; null for a ping.
    #[schema(required)]
    transaction_id: Option<Id>,
    #[schema(example = "https://shop.example/hook")]
    url: String,
    #[schema(value_type = CallbackStatus)]
    status: callbacks::Status,
    /// Attempts since it was made or sent again.
    #[schema(value_type = u32, minimum = 0, example = 1)]
    attempts: i32,
    /// Null unless it is pending.
    #[schema(required, example = json!(null))]
    next_attempt_at: Option<Time>,
    /// The HTTP status of the last attempt.
    #[schema(required, example = 200)]
    last_status: Option<i32>,
    /// Why the last attempt did not count.
    #[schema(required, example = json!(null))]
    last_error: Option<String>,
    created_at: Time,
    #[schema(required)]
    delivered_at: Option<Time>,
}

/// What is told.
#[derive(ToSchema)]
#[expect(dead_code, reason = "shows the types of callbacks, which are texts")]
pub(crate) enum CallbackType {
    #[serde(rename = "transaction.succeeded")]
    Succeeded,
    #[serde(rename = "transaction.failed")]
    Failed,
    #[serde(rename = "ping")]
    Ping,
}

/// Where a callback stands: to be tried, taken by the receiver, given up until a person looks, without
/// an endpoint.
pub(crate) struct CallbackStatus;

impl PartialSchema for CallbackStatus {
    fn schema() -> RefOr<Schema> {
        let what = "Where a callback stands: to be tried, taken by the receiver, given up until a person \
                    looks, without an endpoint.";
        let names = callbacks::Status::VARIANTS.iter().copied();
        let text = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
        text.description(Some(what)).into()
    }
}

impl ToSchema for CallbackStatus {}

/// Try the callback
///
/// A signed `ping` goes to the registered URL.
#[utoipa::path(post, path = "/partner/callbacks/test", security(("ApiKey" = [])),
    responses((status = 202, description = "On its way.", body = PingSent, headers(("Location")))),
    extensions(("x-refusals" = json!(refusals(&[Code::Conflict, Code::PartnerNotFound])))))]
pub(crate) async fn test_callback(
    State(app): State<Shared>,
    Partner { id: partner, .. }: Partner,
) -> Result<impl IntoResponse, Problem> {
    let id = app.callbacks.enqueue_ping(partner).await?;
    let location = format!("/api/v1/partner/callbacks/{id}/");
    let body = PingSent { id: id.into(), message: "A ping is on its way to the registered URL" };
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(body)))
}

/// What became of a callback
#[utoipa::path(get, path = "/partner/callbacks/{id}", security(("ApiKey" = [])),
    params(("id" = Id, Path, description = "The callback.")),
    responses((status = 200, description = "The callback.", body = Callback)),
    extensions(("x-refusals" = json!(refusals(&[Code::CallbackNotFound])))))]
pub(crate) async fn callback(
    State(app): State<Shared>,
    Partner { id: partner, .. }: Partner,
    path::Id(id): path::Id<Uuid>,
) -> Result<Json<Callback>, Problem> {
    let found = app.callbacks.find(id).await?.filter(|delivery| delivery.partner_id == partner);
    let delivery = found.ok_or_else(no_such_callback)?;
    Ok(Json(Callback {
        id: delivery.id.into(),
        webhook_id: delivery.event_id.into(),
        r#type: delivery.r#type,
        transaction_id: delivery.transaction_id.map(Into::into),
        url: delivery.url,
        status: delivery.status,
        attempts: delivery.attempts,
        next_attempt_at: delivery.next_attempt_at.map(Into::into),
        last_status: delivery.last_status,
        last_error: delivery.last_error,
        created_at: delivery.created_at.into(),
        delivered_at: delivery.delivered_at.map(Into::into),
    }))
}
