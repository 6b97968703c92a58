//! A status as a stream of events: <https://html.spec.whatwg.org/multipage/server-sent-events.html>.
//!
//! Every change is one event, named `status`, whose id is the position of the change; a client that was
//! cut off says the last id it has (`Last-Event-ID`) and is told what came after. The stream ends with
//! the final status. A client that has that already is answered 204, which stops its reconnecting.

use super::status::StatusBody;
use crate::app::status_watch::{Seen, Signal, StatusWait};
use crate::http::Shared;
use crate::http::headers::{LAST_EVENT_ID, X_ACCEL_BUFFERING};
use crate::http::middleware::limits::Wait;
use crate::http::problem::Problem;
use crate::identity::Access;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::stream;
use projections::transaction::TransactionHash;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How often a comment shows that the connection lives, when nothing else does.
const COMMENT_EVERY: Duration = Duration::from_secs(15);
/// How long one stream lasts at most: it was opened with a token that lives minutes. The client comes
/// again by itself, with a new one.
const MAX_AGE: Duration = Duration::from_secs(15 * 60);

/// Begins to tell how a transaction is going, with what it is `now` or with what the client has not heard yet.
pub(crate) async fn answer(
    app: Shared,
    (subscription, wait): (StatusWait, Wait),
    (now, seen): (Arc<TransactionHash>, &Seen),
    access: Access,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let untold = match last_heard(headers) {
        Some(heard) => since(&app, &now, seen, heard).await?,
        None => vec![TransactionHash::clone(&now)],
    };
    if untold.is_empty() && now.is_final() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let telling = Telling {
        app,
        subscription,
        _wait: wait,
        access,
        told: now.position(),
        ended: now.is_final(),
        untold: untold.into(),
        until: Instant::now() + MAX_AGE,
    };
    let events = stream::unfold(telling, Telling::next);
    let mut response =
        Sse::new(events).keep_alive(KeepAlive::new().interval(COMMENT_EVERY).text("waiting")).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

fn last_heard(headers: &HeaderMap) -> Option<i64> {
    headers.get(LAST_EVENT_ID)?.to_str().ok()?.parse().ok()
}

/// The changes after `heard` up to `now`; only `now` when `heard` is not a position of this transaction.
async fn since(
    app: &Shared,
    now: &TransactionHash,
    seen: &Seen,
    heard: i64,
) -> Result<Vec<TransactionHash>, Problem> {
    if heard == now.position() {
        return Ok(Vec::new());
    }
    let changes = app.statuses.changes(seen).await?;
    let known = changes.iter().position(|change| change.position() == heard);
    Ok(match known {
        Some(index) => changes[index + 1..].to_vec(),
        None => vec![now.clone()],
    })
}

/// One stream: the changes still to be sent, and the subscription to the next ones.
struct Telling {
    app: Shared,
    subscription: StatusWait,
    _wait: Wait,
    /// The stream ends with it.
    access: Access,
    untold: VecDeque<TransactionHash>,
    /// The position of the last change that is told or about to be.
    told: i64,
    /// Nothing comes after what is untold.
    ended: bool,
    until: Instant,
}

impl Telling {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if self.access.is_over() {
                return None;
            }
            if let Some(change) = self.untold.pop_front() {
                return Some((Ok(event(&change)), self));
            }
            if self.ended {
                return None;
            }
            tokio::select! {
                () = self.access.over() => return None,
                signal = timeout_at(self.until, self.subscription.signalled()) => {
                    self.ended = signal != Ok(Signal::Changed);
                }
            }
            self.look().await;
        }
    }

    /// Notes what has changed. What cannot be seen now is seen at the next look.
    async fn look(&mut self) {
        let Ok(seen) = self.app.statuses.look(&self.subscription).await else { return };
        let Some(now) = seen.now.as_ref().filter(|now| now.position() > self.told) else { return };
        let changes = self.app.statuses.changes(&seen).await.unwrap_or_default();
        let new = changes.iter().filter(|change| change.position() > self.told);
        self.untold.extend(new.cloned());
        if self.untold.is_empty() {
            self.untold.push_back(TransactionHash::clone(now)); // without its stream, at least how it is now
        }
        self.told = now.position();
        self.ended |= now.is_final();
    }
}

fn event(change: &TransactionHash) -> Event {
    let data = serde_json::to_string(&StatusBody::from(change)).expect("strings are always JSON");
    Event::default().event("status").id(change.position().to_string()).data(data)
}
