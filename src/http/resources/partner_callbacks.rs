//! `/partner/callbacks`: what a partner was told, what its receiver answered, and a ping to try it.

use super::admin::callbacks::SentAgain;
use super::admin::{Reason, only_reason};
use crate::http::context::Context;
use crate::http::extract::caller::Partner;
use crate::http::extract::fields::Fields;
use crate::http::extract::page::{Page, PageParams};
use crate::http::extract::path;
use crate::http::extract::query::{Parameters, id, variant};
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::problem::mapping::no_such_callback;
use crate::http::values::{Id, Time};
use crate::http::{Code, Shared};
use crate::processors::callbacks;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use domain::TransactionId;
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
    /// What is sent, byte for byte.
    #[schema(example = r#"{"type":"ping","timestamp":"2026-11-22T08:30:00.123456Z","data":{}}"#)]
    body: String,
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
    created_at: Time,
    #[schema(required)]
    delivered_at: Option<Time>,
    /// When somebody last had it sent again.
    #[schema(required, example = json!(null))]
    resent_at: Option<Time>,
}

/// One request to the receiver of a callback.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallbackAttempt {
    /// When it began.
    at: Time,
    /// The HTTP status; null without an answer.
    #[schema(required, example = 200)]
    status: Option<u16>,
    /// Milliseconds until the answer was read or given up.
    #[schema(example = 35)]
    duration_ms: u64,
    /// Why it does not count as delivered; null for a 2xx.
    #[schema(required, example = json!(null))]
    error: Option<String>,
    /// The first 1024 bytes of the answer's body as text; what is no text is replaced.
    #[schema(required, example = "ok")]
    response: Option<String>,
}

type CallbackPage = Page<Callback>;

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

/// Your callbacks, newest first
///
/// Each with what your receiver answered. Delivered ones are kept for 30 days.
#[utoipa::path(get, path = "/partner/callbacks", security(("ApiKey" = [])),
    params(
        ("status" = CallbackStatus, Query, description = "Only those with this status."),
        ("transaction_id" = Id, Query, description = "Only those about this transaction."),
        PageParams,
    ),
    responses((status = 200, description = "Callbacks.", body = CallbackPage)))]
pub(crate) async fn list_callbacks(
    State(app): State<Shared>,
    partner: Partner,
    context: Context,
    parameters: Parameters,
) -> Result<Json<CallbackPage>, Problem> {
    let (params, filter) =
        PageParams::read(parameters, "partner_callbacks", |parameters| callbacks::Filter {
            status: parameters.optional("status", variant::<callbacks::Status>),
            transaction: parameters.optional("transaction_id", id::<TransactionId>),
        })?;
    let after = params.after()?;
    let slice = app.callbacks.list_for_partner(partner.id, filter, after, params.limit).await?;
    Ok(Json(params.page(&context, slice.map(Callback::from))))
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
    let found = app.callbacks.find_for_partner(partner, id).await?;
    Ok(Json(found.ok_or_else(no_such_callback)?.into()))
}

/// Send a callback again
///
/// The same bytes under the same `webhook-id`, with all its attempts, to the URL that is registered now.
#[utoipa::path(post, path = "/partner/callbacks/{id}/resend", security(("ApiKey" = [])),
    params(("id" = Id, Path, description = "The callback.")),
    request_body = Option<Reason>,
    responses((status = 202, description = "On its way.", body = SentAgain, headers(("Location")))),
    extensions(("x-refusals" = json!(refusals(&[Code::CallbackNotFound])))))]
pub(crate) async fn resend_callback(
    State(app): State<Shared>,
    partner: Partner,
    path::Id(id): path::Id<Uuid>,
    fields: Option<Fields>,
) -> Result<impl IntoResponse, Problem> {
    let by = partner.actor.because(only_reason(fields)?);
    app.callbacks.resend_for_partner(partner.id, id, &by).await?;
    let location = format!("/api/v1/partner/callbacks/{id}/");
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(SentAgain::new(id))))
}

impl From<callbacks::Delivery> for Callback {
    fn from(delivery: callbacks::Delivery) -> Self {
        Self {
            id: delivery.id.into(),
            webhook_id: delivery.event_id.into(),
            r#type: delivery.r#type,
            transaction_id: delivery.transaction_id.map(Into::into),
            url: delivery.url,
            body: delivery.body,
            status: delivery.status,
            attempts: delivery.attempts.into_iter().map(Into::into).collect(),
            next_attempt_at: delivery.next_attempt_at.map(Into::into),
            last_status: delivery.last_status,
            last_error: delivery.last_error,
            created_at: delivery.created_at.into(),
            delivered_at: delivery.delivered_at.map(Into::into),
            resent_at: delivery.resent_at.map(Into::into),
        }
    }
}

impl From<callbacks::Attempt> for CallbackAttempt {
    fn from(attempt: callbacks::Attempt) -> Self {
        let callbacks::Attempt { at, status, duration_ms, error, response } = attempt;
        Self { at: at.into(), status, duration_ms, error, response }
    }
}
