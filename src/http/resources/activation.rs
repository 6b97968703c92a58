//! `/activation`: buy an offer.

use crate::app::activate::{Accepted, Activation};
use crate::app::idempotency::IdempotentRequest;
use crate::http::Shared;
use crate::http::context::Context;
use crate::http::extract::caller::User;
use crate::http::extract::fields::Fields;
use crate::http::extract::idempotency::{IdempotencyKeyHeader, REPLAYED};
use crate::http::extract::values::uuid;
use crate::http::problem::Problem;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::OfferId;
use serde_json::json;

/// `POST /activation/`: 202 once the money is reserved.
pub(crate) async fn activate(
    State(app): State<Shared>,
    user: User,
    context: Context,
    key: Option<IdempotencyKeyHeader>,
    fields: Fields,
) -> Result<Response, Problem> {
    let answer = async {
        let offer_id = OfferId(fields.read(|fields| fields.required("offer_id", uuid))?);
        let request = format!("POST /activation offer_id={offer_id}");
        let request = IdempotentRequest::new(user.id.0, key.map(Into::into), request);
        let activation = Activation { user_id: user.id, offer_id, request };
        Ok::<_, Problem>(app.activations.activate(&activation, context.metadata(user.actor)).await?)
    };
    Ok(accepted(counted(answer.await)?))
}

/// Counts a purchase that was asked for, by what became of the request.
pub(crate) fn counted<T>(answer: Result<T, Problem>) -> Result<T, Problem> {
    count(if answer.is_ok() { "accepted" } else { "rejected" });
    answer
}

pub(crate) fn count(status: &'static str) {
    metrics::counter!("activation_requests_total", "status" => status).increment(1);
}

/// The answer to whoever has begun a purchase: where to see what becomes of it.
pub(crate) fn accepted(accepted: Accepted) -> Response {
    let id = accepted.transaction_id;
    let body = json!({
        "transaction_id": id,
        "status": "PENDING",
        "message": "Activation process started",
    });
    let location = format!("/api/v1/activation/status/{id}/");
    let mut response = (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(body)).into_response();
    if accepted.replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}
