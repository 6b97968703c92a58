//! `GET /activation/status/{id}/`: how a transaction is going, at once, as soon as it is final
//! (`Prefer: wait=N`), or whenever it changes (`Accept: text/event-stream`).
//!
//! A waiting request does no work: it gives its place among the requests back and subscribes to changes.
//! When there are too many subscriptions a wait is answered at once (a preference may be ignored), and a
//! stream is refused.

use super::status_stream;
use crate::app::App;
use crate::app::status_watch::Signal;
use crate::http::Shared;
use crate::http::extract::path::Id;
use crate::http::extract::preferences::{self, EVENT_STREAM, PREFERENCE_APPLIED};
use crate::http::middleware::limits::Slot;
use crate::http::problem::Problem;
use crate::http::problem::code::Code;
use crate::http::problem::mapping::no_such_transaction;
use crate::identity::Caller;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use domain::TransactionId;
use projections::transaction::TransactionHash;
use serde_json::{Map, Value};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// For whom it was bought, and for who bought it.
pub(crate) async fn status(
    State(app): State<Shared>,
    caller: Caller,
    Id(id): Id<TransactionId>,
    headers: HeaderMap,
    slot: Option<Extension<Slot>>,
) -> Result<Response, Problem> {
    let now = app.statuses.current(id).await?;
    let now = now.filter(|hash| concerns(hash, &caller)).ok_or_else(no_such_transaction)?;
    if preferences::wants(EVENT_STREAM, &headers) {
        let subscription = app.statuses.subscribe(id).ok_or_else(too_many_wait)?;
        return status_stream::answer(app, id, subscription, &headers).await;
    }
    let Some(wait) = preferences::wait(&headers) else { return Ok(Json(shown(&now)).into_response()) };
    if let Some(Extension(slot)) = slot {
        slot.give_back();
    }
    Ok(match held(&app, id, now.clone(), wait).await {
        Some(later) => {
            let applied = [(PREFERENCE_APPLIED, format!("wait={}", wait.as_secs()))];
            (applied, Json(shown(&later))).into_response()
        }
        None => Json(shown(&now)).into_response(),
    })
}

/// What a client is shown of a status: strings all.
pub(crate) fn shown(hash: &TransactionHash) -> Map<String, Value> {
    hash.shown().map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
}

/// The status once it is final, or as it is when `wait` is over or the service stops; `None` when too many
/// requests wait.
async fn held(app: &App, id: TransactionId, now: TransactionHash, wait: Duration) -> Option<TransactionHash> {
    if now.is_final() {
        return Some(now);
    }
    let until = Instant::now() + wait;
    let mut subscription = app.statuses.subscribe(id)?;
    let mut last = now;
    loop {
        last = newer(app, id).await.unwrap_or(last);
        if last.is_final() {
            return Some(last);
        }
        if let Ok(Signal::Changed) = timeout_at(until, subscription.signalled()).await {
            continue;
        }
        return Some(newer(app, id).await.unwrap_or(last));
    }
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
