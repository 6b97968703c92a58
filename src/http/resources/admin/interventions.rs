//! `/admin/transactions/{id}`: a person decides about a transaction that makes no progress.

use super::{MAX_REASON, Reason, only_reason};
use crate::app::idempotency::IdempotentRequest;
use crate::app::intervene::Resolution;
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::fields::Fields;
use crate::http::extract::idempotency::IdempotencyKeyHeader;
use crate::http::extract::path;
use crate::http::extract::request::{Request, request};
use crate::http::extract::rules::{Line, Prose, name_of};
use crate::http::headers::IDEMPOTENT_REPLAYED;
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::{Code, Shared};

use crate::http::values::{Id, Status};
use crate::telemetry::chain;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::transaction::{self, Outcome, UNKNOWN_REFERENCE};
use domain::{Metadata, TransactionId};
use serde::Serialize;
use utoipa::ToSchema;

/// Characters of the activation system's reference.
const MAX_REFERENCE: usize = 200;

request! {
    /// How the transaction ended, as you have found out.
    strict Resolve {
        /// `succeeded`: it was done. `failed`: it was not done and never will be; the money goes back.
        outcome: Outcome = required(name_of::<Outcome>(), "failed"),
        /// The activation system's reference, if it was done.
        reference: Option<String> = optional(Line(1..=MAX_REFERENCE), "EXT-1"),
        /// How you know; kept.
        reason: String = required(Prose(1..=MAX_REASON), "Not in their list of activations of 2026-11-26"),
    }
}

/// An order that was recorded.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Intervened {
    transaction_id: Id,
    status: Status,
    #[schema(example = "The transaction is tried again")]
    message: &'static str,
}

/// Try a transaction again now
///
/// Its deadline begins again. The order is recorded with who gave it and why.
#[utoipa::path(post, path = "/admin/transactions/{id}/retry", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The transaction.")),
    request_body = Option<Reason>,
    responses((status = 202, description = "It is tried again within seconds.", body = Intervened,
        headers(("Location")))),
    extensions(("x-refusals" = json!(refusals(&[Code::TransactionNotFound, Code::Conflict])))))]
pub(crate) async fn retry(
    State(app): State<Shared>,
    Admin(admin): Admin,
    context: Context,
    path::Id(id): path::Id<TransactionId>,
    fields: Option<Fields>,
) -> Result<impl IntoResponse, Problem> {
    let reason = only_reason(fields)?;
    let metadata = Metadata { reason, ..context.metadata(admin.actor().to_string()) };
    let status = app.activations.retry(id, &metadata).await?;
    Ok(accepted(&app, id, status, "The transaction is tried again").await)
}

/// End a transaction by hand
///
/// For one whose outcome nobody else can tell. `succeeded` begins the subscription, `failed` gives the money back.
/// Of a final transaction that the activation system has contradicted, its own outcome settles the contradiction.
/// What is recorded says who ended it and why.
#[utoipa::path(post, path = "/admin/transactions/{id}/resolve", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The transaction."), IdempotencyKeyHeader),
    request_body = Resolve,
    responses((status = 202, description = "It has ended so.", body = Intervened, headers(("Location")))),
    extensions(("x-refusals" = json!(refusals(&[Code::TransactionNotFound, Code::Conflict])))))]
pub(crate) async fn resolve(
    State(app): State<Shared>,
    Admin(admin): Admin,
    context: Context,
    path::Id(id): path::Id<TransactionId>,
    key: Option<IdempotencyKeyHeader>,
    fields: Fields,
) -> Result<Response, Problem> {
    let Resolve { outcome, reference, reason } = Request::of(fields)?;
    let done_as = match (outcome, reference) {
        (Outcome::Succeeded, reference) => Some(reference.unwrap_or_else(|| UNKNOWN_REFERENCE.to_owned())),
        (Outcome::Failed, None) => None,
        (Outcome::Failed, Some(_)) => {
            return Err(Problem::invalid_field("reference", "belongs to the outcome succeeded"));
        }
    };
    let metadata = Metadata { reason: Some(reason), ..context.metadata(admin.actor().to_string()) };
    let request = format!("POST /admin/transactions/{id}/resolve outcome={done_as:?}");
    let request = IdempotentRequest::new(admin.id(), key.map(Into::into), request);
    let resolution = Resolution { id, done_as, request };
    let resolved = app.activations.resolve(&resolution, metadata, app.clock.now()).await?;
    let mut response = accepted(&app, id, resolved.status, "The transaction has ended").await.into_response();
    if resolved.replayed {
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// The answer, as soon as everybody can read the same. The order is recorded, so nothing here is a refusal.
async fn accepted(
    app: &Shared,
    id: TransactionId,
    status: transaction::Status,
    message: &'static str,
) -> impl IntoResponse + use<> {
    if let Err(error) = app.statuses.find(id).await {
        tracing::debug!(error = %chain(&error), "an order is answered before everybody can read it");
    }
    let location = format!("/api/v1/audit/transactions/{id}/");
    let body = Intervened { transaction_id: id.into(), status: status.into(), message };
    (StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(body))
}
