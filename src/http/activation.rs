//! `/activation`: buy an offer, and see what became of it.

use super::Shared;
use super::caller::User;
use super::context::Context;
use super::fields::Fields;
use super::idempotency::{IdempotencyKey, REPLAYED};
use super::path::Id;
use super::problem::Problem;
use super::refusals::no_such_transaction;
use super::values::uuid;
use crate::activations::{self, Accepted, Activation};
use crate::identity::Caller;
use crate::repeats::Repeatable;
use crate::statuses;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::{OfferId, TransactionId};
use projections::transaction::TransactionHash;
use serde_json::{Value, json};

/// `POST /activation/`: 202 once the money is reserved.
pub(super) async fn activate(
    State(app): State<Shared>,
    user: User,
    context: Context,
    key: Option<IdempotencyKey>,
    fields: Fields,
) -> Result<Response, Problem> {
    let answer = async {
        let offer_id = OfferId(fields.read(|fields| fields.required("offer_id", uuid))?);
        let request = format!("POST /activation offer_id={offer_id}");
        let repeatable = Repeatable::new(user.id.0, key.map(Into::into), request);
        let activation = Activation { user_id: user.id, offer_id, repeatable };
        Ok::<_, Problem>(activations::accept(&app.log, &activation, context.metadata(user.actor)).await?)
    };
    Ok(accepted(counted(answer.await)?))
}

/// Counts a purchase that was asked for, by what became of the request.
pub(super) fn counted<T>(answer: Result<T, Problem>) -> Result<T, Problem> {
    count(if answer.is_ok() { "accepted" } else { "rejected" }, 1);
    answer
}

/// Shows the counters before anything was counted.
pub(super) fn begin_to_count() {
    ["accepted", "rejected"].into_iter().for_each(|status| count(status, 0));
}

pub(super) fn count(status: &'static str, requests: u64) {
    metrics::counter!("activation_requests_total", "status" => status).increment(requests);
}

/// The answer to whoever has begun a purchase: where to see what becomes of it.
pub(super) fn accepted(accepted: Accepted) -> Response {
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

/// `GET /activation/status/{id}/`: for whom it was bought, and for who bought it.
pub(super) async fn status(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<TransactionId>,
) -> Result<Json<Value>, Problem> {
    let hash = statuses::current(&app, id).await?;
    let hash = hash.filter(|hash| concerns(hash, &caller)).ok_or_else(no_such_transaction)?;
    Ok(Json(hash.shown().map(|(name, value)| (name.to_owned(), Value::from(value))).collect()))
}

fn concerns(hash: &TransactionHash, caller: &Caller) -> bool {
    match caller {
        Caller::User { id, .. } => hash.user_id() == *id,
        Caller::Partner { id, .. } => hash.partner_id() == Some(*id),
    }
}
