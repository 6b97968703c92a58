//! How much is served at once and how long a request may take.

use crate::http::held::{Place, Places};
use crate::http::problem::Problem;
use crate::http::problem::code::Code;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use uuid::Uuid;

/// How many requests are worked on at once; more are refused at once, because a queue that nobody
/// waits for any more helps nobody.
pub(crate) const MAX_IN_FLIGHT: usize = 4096;
/// How long a request may take until its answer begins. Above the longest `Prefer: wait` (30 s), so
/// that only what hangs ever meets it: every part behind has a shorter deadline of its own.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(45);

/// How many streams and waits one caller holds at once, so that one of them cannot take all that there are.
pub(crate) const MAX_WAITS_PER_CALLER: u32 = 32;

/// The streams and waits that each caller holds.
#[derive(Clone, Default)]
pub(crate) struct Waits(Places<Uuid>);

/// One of them; it ends when dropped.
pub(crate) type Wait = Place<Uuid>;

impl Waits {
    /// Counts one more for `caller`, a user or a partner.
    ///
    /// # Errors
    /// `rate_limited`.
    pub(crate) fn begin(&self, caller: Uuid) -> Result<Wait, Problem> {
        self.0.take(caller, MAX_WAITS_PER_CALLER).ok_or_else(|| {
            let detail = format!("One caller holds at most {MAX_WAITS_PER_CALLER} streams and waits at once");
            Problem::new(Code::RateLimited, detail).after(Duration::from_secs(1))
        })
    }
}

/// A request's place among those that are worked on.
#[derive(Clone)]
pub(crate) struct Slot(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Slot {
    /// Gives the place to another, because what comes is no work but waiting.
    pub(crate) fn give_back(&self) {
        self.0.lock().take();
    }
}

/// Refuses what is more than can be served.
pub(crate) async fn shed(State(slots): State<Arc<Semaphore>>, mut request: Request, next: Next) -> Response {
    let Ok(permit) = slots.try_acquire_owned() else {
        return Problem::new(Code::Overloaded, "Too many requests at once").into_response();
    };
    let slot = Slot(Arc::new(Mutex::new(Some(permit))));
    request.extensions_mut().insert(slot.clone());
    let response = next.run(request).await;
    slot.give_back(); // the answer has begun, however long it may become
    response
}

/// Ends what takes longer than `limit`. Whether an unsafe request was carried out is then not known.
pub(crate) async fn time_out(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    let only_reads = request.method().is_safe();
    match tokio::time::timeout(limit, next.run(request)).await {
        Ok(response) => response,
        Err(_) if only_reads => Problem::new(Code::Timeout, "The answer took too long").into_response(),
        Err(_) => Problem::new(
            Code::OutcomeUnknown,
            "The answer took too long, and the request may have been carried out: repeat it with the same key",
        )
        .into_response(),
    }
}
