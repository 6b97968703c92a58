//! `/admin/transactions/{id}`: a person decides about a transaction that makes no progress.

use super::{MAX_REASON, Reason, only_reason};
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::fields::Fields;
use crate::http::extract::path;
use crate::http::extract::request::{Request, request};
use crate::http::extract::rules::{Line, Prose, name_of};
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::problem::mapping::no_such_transaction;
use crate::http::{Code, Shared};

use crate::http::values::{Id, Status};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use domain::transaction::Outcome;
use domain::{Metadata, TransactionId};
use serde::Serialize;
use utoipa::ToSchema;

/// Characters of the activation system's reference.
const MAX_REFERENCE: usize = 200;
/// The reference of a success of which a person knows none.
const UNKNOWN_REFERENCE: &str = "unknown";

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
    app.activations.retry(id, &metadata).await?;
    accepted(&app, id, "The transaction is tried again").await
}

/// End a transaction by hand
///
/// For one whose outcome nobody else can tell. `succeeded` begins the subscription, `failed` gives the money back.
/// Of a final transaction that the activation system has contradicted, its own outcome settles the contradiction.
/// What is recorded says who ended it and why.
#[utoipa::path(post, path = "/admin/transactions/{id}/resolve", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The transaction.")),
    request_body = Resolve,
    responses((status = 202, description = "It has ended so.", body = Intervened, headers(("Location")))),
    extensions(("x-refusals" = json!(refusals(&[Code::TransactionNotFound, Code::Conflict])))))]
pub(crate) async fn resolve(
    State(app): State<Shared>,
    Admin(admin): Admin,
    context: Context,
    path::Id(id): path::Id<TransactionId>,
    fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let Resolve { outcome, reference, reason } = Request::of(fields)?;
    let done_as = match (outcome, reference) {
        (Outcome::Succeeded, reference) => Some(reference.unwrap_or_else(|| UNKNOWN_REFERENCE.to_owned())),
        (Outcome::Failed, None) => None,
        (Outcome::Failed, Some(_)) => {
            return Err(Problem::invalid_field("reference", "belongs to the outcome succeeded"));
        }
    };
    let metadata = Metadata { reason: Some(reason), ..context.metadata(admin.actor().to_string()) };
    app.activations.resolve(id, done_as, &metadata, app.clock.now()).await?;
    accepted(&app, id, "The transaction has ended").await
}

/// The transaction as everybody sees it now.
async fn accepted(
    app: &Shared,
    id: TransactionId,
    message: &'static str,
) -> Result<impl IntoResponse + use<>, Problem> {
    let now = app.statuses.find(id).await?.ok_or_else(no_such_transaction)?;
    let location = format!("/api/v1/audit/transactions/{id}/");
    let body = Intervened { transaction_id: id.into(), status: now.view.status.into(), message };
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, location)], Json(body)))
}
