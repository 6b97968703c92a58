//! `/activation`: buy an offer.

use crate::app::activate::{self, Activation};
use crate::app::idempotency::IdempotentRequest;
use crate::http::context::Context;
use crate::http::extract::caller::Buyer;
use crate::http::extract::fields::Fields;
use crate::http::extract::idempotency::IdempotencyKeyHeader;
use crate::http::extract::request::{Request, request};
use crate::http::extract::rules::id;
use crate::http::headers::IDEMPOTENT_REPLAYED;
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::values::Id;
use crate::http::{Code, Shared};
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::OfferId;
use serde::Serialize;
use utoipa::ToSchema;

request! {
    /// What is wanted.
    ActivationRequest {
        offer_id: OfferId = required(id::<OfferId>()),
    }
}

/// A transaction has begun.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Accepted {
    transaction_id: Id,
    status: BeginStatus,
    #[schema(example = "Activation process started")]
    message: &'static str,
}

/// Every transaction begins so.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum BeginStatus {
    Pending,
}

/// Buy an offer
///
/// Answers once the money is reserved; `Location` says where to see what becomes of it. A transaction that
/// fails is refunded.
#[utoipa::path(post, path = "/activation", security(("Bearer" = ["user"])),
    params(IdempotencyKeyHeader),
    request_body = ActivationRequest,
    responses((status = 202, description = "Accepted.", body = Accepted, headers(("Location")))),
    extensions(("x-refusals" =
        json!(refusals(&[Code::InsufficientBalance, Code::OfferNotFound, Code::Conflict])))))]
pub(crate) async fn activate(
    State(app): State<Shared>,
    Buyer(user): Buyer,
    context: Context,
    key: Option<IdempotencyKeyHeader>,
    fields: Fields,
) -> Result<Response, Problem> {
    let answer = async {
        let ActivationRequest { offer_id } = Request::of(fields)?;
        let request = format!("POST /activation offer_id={offer_id}");
        let request = IdempotentRequest::new(user.id.0, key.map(Into::into), request);
        let activation = Activation { user_id: user.id, offer_id, request };
        Ok::<_, Problem>(app.activations.activate(&activation, context.metadata(user.actor)).await?)
    };
    Ok(accepted(counted(answer.await)?))
}

/// Counts a transaction that was asked for, by what became of the request.
pub(crate) fn counted<T>(answer: Result<T, Problem>) -> Result<T, Problem> {
    count(if answer.is_ok() { "accepted" } else { "rejected" });
    answer
}

pub(crate) fn count(status: &'static str) {
    metrics::counter!("activation_requests_total", "status" => status).increment(1);
}

/// The answer when a transaction has begun: where to see what becomes of it.
pub(crate) fn accepted(accepted: activate::Accepted) -> Response {
    let id = accepted.transaction_id;
    let body = Accepted {
        transaction_id: id.into(),
        status: BeginStatus::Pending,
        message: "Activation process started",
    };
    let location = format!("/api/v1/activation/status/{id}/");
    let mut response = (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(body)).into_response();
    if accepted.replayed {
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    response
}
