//! How much is served at once and how long a request may take.

use crate::http::held::{Place, Places};
use crate::http::problem::Problem;
use crate::http::problem::code::Code;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use uuid::Uuid;

/// How many requests are worked on at once; more are refused at once, because a queue that nobody
/// waits for any more helps nobody.
pub(crate) const MAX_IN_FLIGHT: usize = 4096;
/// How long a request may take until its answer begins. Above the longest `Prefer: wait` (30 s), so
/// that only what hangs ever meets it: every part behind has a shorter deadline of its own.
pub(crate) const REQUEST_TIMEOUT: Duration = Duration::from_secs(45);

/// Bytes that wait in the unfinished bodies of all requests.
const MAX_UNFINISHED: usize = 64 * 1024 * 1024;
/// Bytes of each body that do not count: small bodies are read even when large ones have taken all. Only
/// [`MAX_IN_FLIGHT`] bodies are read at once, so this too is bounded.
const SMALL_BODY: usize = 4 * 1024;

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

/// The bytes that still may wait in unfinished bodies.
#[derive(Clone)]
pub(crate) struct UnfinishedBodies(Arc<Semaphore>);

/// What one unfinished body has of them; it gives them back when dropped.
pub(crate) struct UnfinishedBody<'a> {
    free: &'a Semaphore,
    counted: SemaphorePermit<'a>,
    length: usize,
}

impl Default for UnfinishedBodies {
    fn default() -> Self {
        Self::of(MAX_UNFINISHED)
    }
}

impl UnfinishedBodies {
    pub(crate) fn of(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// A body of which nothing has arrived yet.
    pub(crate) fn begin(&self) -> UnfinishedBody<'_> {
        let counted = self.0.try_acquire_many(0).expect("nothing is always there");
        UnfinishedBody { free: &self.0, counted, length: 0 }
    }
}

impl UnfinishedBody<'_> {
    /// Counts `bytes` more.
    ///
    /// # Errors
    /// `overloaded`.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Problem> {
        self.length += bytes;
        let counted = self.length.saturating_sub(SMALL_BODY);
        let more = u32::try_from(counted - self.counted.num_permits()).unwrap_or(u32::MAX);
        let more = self.free.try_acquire_many(more);
        self.counted
            .merge(more.map_err(|_| Problem::new(Code::Overloaded, "Too many bodies are unfinished"))?);
        Ok(())
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
pub(crate) async fn shed<F>(
    slots: &Arc<Semaphore>,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response
where
    F: Future<Output = Response>,
{
    let Ok(permit) = slots.clone().try_acquire_owned() else {
        return Problem::new(Code::Overloaded, "Too many requests at once").into_response();
    };
    let slot = Slot(Arc::new(Mutex::new(Some(permit))));
    request.extensions_mut().insert(slot.clone());
    let response = next(request).await;
    slot.give_back(); // the answer has begun, however long it may become
    response
}

/// Ends what takes longer than `limit`. Whether an unsafe request was carried out is then not known.
pub(crate) async fn time_out<F>(
    limit: Duration,
    request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response
where
    F: Future<Output = Response>,
{
    let only_reads = request.method().is_safe();
    match tokio::time::timeout(limit, next(request)).await {
        Ok(response) => response,
        Err(_) if only_reads => Problem::new(Code::Timeout, "The answer took too long").into_response(),
        Err(_) => Problem::new(
            Code::OutcomeUnknown,
            "The answer took too long, and the request may have been carried out: repeat it with the same key",
        )
        .into_response(),
    }
}
