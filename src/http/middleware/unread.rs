//! What becomes of a request's body that was not read to its end when the answer is ready.
//!
//! On a connection that serves further requests, the next one begins where the body ends. A short rest is
//! therefore read and dropped before the answer goes out. Where that takes too long the answer says
//! `Connection: close`, and the rest is read a while longer: a socket that is closed with unread bytes in
//! it is reset, and a client that still sends would lose the answer.

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use http_body_util::BodyExt;
use hyper::body::{Frame, SizeHint};
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::timeout;

/// Bytes that are dropped before the answer, to keep the connection.
const MAX_DRAINED: u64 = 1024 * 1024;
/// How long an answer is held back for that.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Around everything: after each answer the connection is usable, or the answer says that it is not.
pub(crate) async fn settle<F>(request: Request, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    if request.body().is_end_stream() {
        return next(request).await;
    }
    let must_ask = awaits_leave(request.headers());
    let unread = Arc::new(Mutex::new(None));
    let lend = |body| Body::new(Lent { body: Some(body), polled: false, unread: unread.clone() });
    let mut response = next(request.map(lend)).await;
    let Some(Unread { mut body, polled }) = unread.lock().take() else { return response };
    if must_ask && !polled {
        close(&mut response); // the client waits for leave to send, and will not get it
        return response;
    }
    if body.size_hint().lower() <= MAX_DRAINED
        && timeout(DRAIN_TIMEOUT, drop_bytes(&mut body, MAX_DRAINED)).await.unwrap_or(false)
    {
        return response;
    }
    close(&mut response);
    response
}

/// Whether the body is sent only once we have said `100 Continue`, which reading it does.
pub(crate) fn awaits_leave(headers: &HeaderMap) -> bool {
    headers.get(header::EXPECT).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

pub(crate) fn close(response: &mut Response) {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
}

/// Reads up to `most` bytes; whether that was all of the body.
async fn drop_bytes(body: &mut Body, most: u64) -> bool {
    let mut left = most;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        match left.checked_sub(frame.data_ref().map_or(0, Bytes::len) as u64) {
            Some(rest) => left = rest,
            None => return false,
        }
    }
    true
}

/// A body that was dropped before its end.
struct Unread {
    body: Body,
    polled: bool,
}

/// A body that comes back when it is dropped before its end.
struct Lent {
    body: Option<Body>,
    polled: bool,
    unread: Arc<Mutex<Option<Unread>>>,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.polled = true;
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or(SizeHint::with_exact(0), HttpBody::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            *self.unread.lock() = Some(Unread { body, polled: self.polled });
        }
    }
}
