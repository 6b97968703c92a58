//! `GET /activation/status/{id}/`: how a transaction is going, at once, as soon as it is final
//! (`Prefer: wait=N`), or whenever it changes (`Accept: text/event-stream`).
//!
//! A waiting request does no work: it gives its place among the requests back and registers a wait.
//! When there are too many subscriptions a wait is answered at once (a preference may be ignored), and a
//! stream is refused.

use super::status_stream;
use crate::app::App;
use crate::app::status_watch::Signal;
use crate::http::extract::path;
use crate::http::extract::preferences::{self, EVENT_STREAM};
use crate::http::headers::PREFERENCE_APPLIED;
use crate::http::middleware::limits::{Slot, Waits};
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::problem::mapping::no_such_transaction;
use crate::http::values::{Id, Kind, Money, Status, Time};
use crate::http::{Code, Shared};
use crate::identity::{self, Access, Caller};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use domain::TransactionId;
use projections::transaction::TransactionHash;
use serde::Serialize;
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
    let now = app.statuses.current(id).await?;
    let now = now.filter(|hash| concerns(hash, &caller)).ok_or_else(no_such_transaction)?;
    if preferences::wants(EVENT_STREAM, &headers) {
        let mine = waits.begin(caller.id())?;
        let changes = app.statuses.wait_for(id).ok_or_else(too_many_wait)?;
        let access = app.identity.access(&caller);
        return status_stream::answer(app, id, (changes, mine), access, &headers).await;
    }
    let Some(wait) = preferences::wait(&headers) else {
        return Ok(Json(StatusBody::from(&now)).into_response());
    };
    let _mine = if now.is_final() { None } else { Some(waits.begin(caller.id())?) };
    if let Some(Extension(slot)) = slot {
        slot.give_back();
    }
    let access = app.identity.access(&caller);
    Ok(match held(&app, id, now.clone(), wait, access).await? {
        Some(later) => {
            let applied = [(PREFERENCE_APPLIED, format!("wait={}", wait.as_secs()))];
            (applied, Json(StatusBody::from(&later))).into_response()
        }
        None => Json(StatusBody::from(&now)).into_response(),
    })
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

/// The status once it is final, or as it is when `wait` is over or the service stops; `None` when too many
/// requests wait. A caller that loses its access meanwhile is not told.
async fn held(
    app: &App,
    id: TransactionId,
    now: TransactionHash,
    wait: Duration,
    mut access: Access,
) -> Result<Option<TransactionHash>, Problem> {
    if now.is_final() {
        return Ok(Some(now));
    }
    let until = Instant::now() + wait;
    let Some(mut changes) = app.statuses.wait_for(id) else { return Ok(None) };
    let mut last = now;
    let mut waits = true;
    while waits && !last.is_final() {
        last = newer(app, id).await.unwrap_or(last);
        if last.is_final() {
            break;
        }
        waits = tokio::select! {
            () = access.over() => return Err(identity::Error::TokenInvalid.into()),
            signal = timeout_at(until, changes.signalled()) => signal == Ok(Signal::Changed),
        };
        if !waits {
            last = newer(app, id).await.unwrap_or(last);
        }
    }
    if access.is_over() { Err(identity::Error::TokenInvalid.into()) } else { Ok(Some(last)) }
}

/// The status now; `None` when it cannot be read: a waiting request outlives short failures.
async fn newer(app: &App, id: TransactionId) -> Option<TransactionHash> {
    app.statuses.current(id).await.ok().flatten()
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
