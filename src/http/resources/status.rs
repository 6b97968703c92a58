//! `GET /activation/status/{id}/`: how a transaction is going, at once, as soon as it is final
//! (`Prefer: wait=N`), or whenever it changes (`Accept: text/event-stream`).
//!
//! A waiting request does no work: it registers a wait and gives its place among the requests back. When all
//! requests together wait too often, a wait is answered at once (a preference may be ignored) and a stream is 503;
//! a caller who waits too often is 429 for both.

use super::status_stream;
use crate::app::App;
use crate::app::status_watch::{Signal, StatusWait};
use crate::http::extract::path;
use crate::http::extract::preferences::{self, EVENT_STREAM};
use crate::http::headers::PREFERENCE_APPLIED;
use crate::http::json::Json;
use crate::http::middleware::limits::{Slot, Waits};
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::problem::mapping::no_such_transaction;
use crate::http::values::{Id, Kind, Money, Status, Time};
use crate::http::{Code, Shared};
use crate::identity::{self, Access, Caller};
use axum::Extension;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use domain::TransactionId;
use projections::transaction::TransactionHash;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use utoipa::ToSchema;

/// One change, and the comment that shows that the connection lives.
const STREAM_EXAMPLE: &str = "event: status\nid: 42\ndata: {\"status\":\"SUCCESS\"}\n\n: waiting\n\n";

/// The status of a transaction.
#[derive(Serialize, ToSchema)]
#[schema(as = ActivationStatus)]
#[serde(deny_unknown_fields)]
pub(crate) struct StatusBody<'a> {
    #[schema(value_type = Id)]
    transaction_id: &'a str,
    #[schema(value_type = Id)]
    user_id: &'a str,
    #[schema(value_type = Id)]
    offer_id: &'a str,
    #[schema(value_type = Money)]
    amount: &'a str,
    #[schema(value_type = Status)]
    status: &'a str,
    #[schema(value_type = Time)]
    created_at: &'a str,
    #[schema(value_type = Time)]
    updated_at: &'a str,
    #[schema(value_type = Kind)]
    kind: &'a str,
    /// When it became final.
    #[schema(value_type = Option<Time>, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    completed_at: Option<&'a str>,
    /// The activation system's reference, once it succeeded.
    #[schema(nullable = false, example = "EXT-1")]
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
    /// Why it failed.
    #[schema(nullable = false, example = "Sold out")]
    #[serde(skip_serializing_if = "Option::is_none")]
    error_message: Option<&'a str>,
    /// When the money went back.
    #[schema(value_type = Option<Time>, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    refunded_at: Option<&'a str>,
    /// The partner who bought it.
    #[schema(value_type = Option<Id>, nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    partner_id: Option<&'a str>,
    /// `outcome_unknown`: it was tried, and nothing certain is known yet.
    #[schema(nullable = false, example = "outcome_unknown")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_reason: Option<&'a str>,
}

/// The status of a transaction
///
/// For the user it was bought for, and for the partner who bought it. `Prefer: wait=N` holds the answer
/// until the status is final or N seconds (at most 30) have passed. `Accept: text/event-stream` sends every
/// change as an event `status`, whose id is its position and whose data is this JSON, and ends after the
/// final one; a client that has that already (`Last-Event-ID`) is answered 204.
#[utoipa::path(get, path = "/activation/status/{id}", security(("Bearer" = []), ("ApiKey" = [])),
    params(
        ("id" = Id, Path, description = "The transaction."),
        ("Prefer" = String, Header, description = "How long to hold the answer back: `wait=N` (RFC 7240).",
            example = "wait=10"),
        ("Last-Event-ID" = String, Header, description = "The id of the last event that was received.",
            example = "42"),
    ),
    responses(
        (status = 200, description = "The status. All members are strings; unknown ones are left out.",
            headers(("Preference-Applied")),
            content(
                (StatusBody = "application/json"),
                (String = "text/event-stream", example = json!(STREAM_EXAMPLE)),
            )),
        (status = 204, description = "The client has the final status already."),
    ),
    extensions(("x-refusals" = json!(refusals(&[Code::TransactionNotFound])))))]
pub(crate) async fn status(
    State(app): State<Shared>,
    caller: Caller,
    path::Id(id): path::Id<TransactionId>,
    headers: HeaderMap,
    slot: Option<Extension<Slot>>,
    Extension(waits): Extension<Waits>,
) -> Result<Response, Problem> {
    let preferred = preferences::wait(&headers);
    if preferred.is_some() || preferences::wants(EVENT_STREAM, &headers) {
        return Box::pin(waiting(app, caller, id, headers, slot, waits)).await; // it is large, and seldom asked for
    }
    let now = of_caller(app.statuses.current(id).await?, &caller)?;
    Ok(Json(StatusBody::from(&*now)).into_response())
}

/// The answer to a request that waits, or wants a stream.
async fn waiting(
    app: Shared,
    caller: Caller,
    id: TransactionId,
    headers: HeaderMap,
    slot: Option<Extension<Slot>>,
    waits: Waits,
) -> Result<Response, Problem> {
    let mine = waits.begin(caller.id());
    let place = if mine.is_ok() { app.statuses.wait_for(id) } else { None };
    if let (Some(_), Some(Extension(slot))) = (&place, slot) {
        slot.give_back();
    }
    let access = app.identity.access(&caller);
    if preferences::wants(EVENT_STREAM, &headers) {
        let (mine, place) = (mine?, place.ok_or_else(too_many_wait)?);
        let seen = app.statuses.look(&place).await?;
        let now = of_caller(seen.now.clone(), &caller)?;
        return status_stream::answer(app, (place, mine), (now, &seen), access, &headers).await;
    }
    let now = match &place {
        Some(place) => app.statuses.look(place).await?.now.clone(),
        None => app.statuses.current(id).await?,
    };
    let now = of_caller(now, &caller)?;
    let wait = preferences::wait(&headers).unwrap_or_default();
    let last = match place {
        _ if now.is_final() => now,
        Some(place) => held(&app, place, now, wait, access).await?,
        None => {
            mine?;
            return Ok(Json(StatusBody::from(&*now)).into_response());
        }
    };
    let applied = [(PREFERENCE_APPLIED, format!("wait={}", wait.as_secs()))];
    Ok((applied, Json(StatusBody::from(&*last))).into_response())
}

impl<'a> From<&'a TransactionHash> for StatusBody<'a> {
    fn from(hash: &'a TransactionHash) -> Self {
        let value = |name: &str| hash.shown().find(|(known, _)| *known == name).map(|(_, value)| value);
        let required = |name: &str| value(name).expect("every whole hash has it");
        Self {
            transaction_id: required("transaction_id"),
            user_id: required("user_id"),
            offer_id: required("offer_id"),
            amount: required("amount"),
            status: required("status"),
            created_at: required("created_at"),
            updated_at: required("updated_at"),
            kind: required("kind"),
            completed_at: value("completed_at"),
            reference: value("reference"),
            error_message: value("error_message"),
            refunded_at: value("refunded_at"),
            partner_id: value("partner_id"),
            pending_reason: value("pending_reason"),
        }
    }
}

/// The status once it is final, or as it is when `wait` is over or the service stops. A caller that loses its
/// access meanwhile is not told.
async fn held(
    app: &App,
    mut place: StatusWait,
    now: Arc<TransactionHash>,
    wait: Duration,
    mut access: Access,
) -> Result<Arc<TransactionHash>, Problem> {
    let until = Instant::now() + wait;
    let mut last = now;
    let mut waits = true;
    while waits && !last.is_final() {
        waits = tokio::select! {
            () = access.over() => return Err(identity::Error::TokenInvalid.into()),
            signal = timeout_at(until, place.signalled()) => signal == Ok(Signal::Changed),
        };
        last = newer(app, &place).await.unwrap_or(last);
    }
    if access.is_over() { Err(identity::Error::TokenInvalid.into()) } else { Ok(last) }
}

/// The status now; `None` when it cannot be read: a waiting request outlives short failures.
async fn newer(app: &App, place: &StatusWait) -> Option<Arc<TransactionHash>> {
    app.statuses.look(place).await.ok().and_then(|seen| seen.now.clone())
}

/// The status, if the caller may see it.
fn of_caller(found: Option<Arc<TransactionHash>>, caller: &Caller) -> Result<Arc<TransactionHash>, Problem> {
    found.filter(|hash| concerns(hash, caller)).ok_or_else(no_such_transaction)
}

fn concerns(hash: &TransactionHash, caller: &Caller) -> bool {
    match caller {
        Caller::User { id, .. } => hash.user_id() == *id,
        Caller::Partner { id, .. } => hash.partner_id() == Some(*id),
    }
}

fn too_many_wait() -> Problem {
    Problem::new(Code::Overloaded, "Too many requests wait already")
}
