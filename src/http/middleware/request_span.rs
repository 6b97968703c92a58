//! One `tracing` span a request, with its id, its path and how it ended.

use super::security;
use crate::http::context::{Context, trace_id};
use crate::http::headers::X_REQUEST_ID;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::response::Response;
use std::time::Instant;
use tracing::Instrument;

/// Around everything: one span a request, its id on the response, and nothing kept by caches on the way
/// unless a handler says so.
pub(crate) async fn request_span<F>(mut request: Request, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let begun = Instant::now();
    let context = Context::of(&request);
    let id = HeaderValue::from_str(context.request_id()).expect("a request id is visible ASCII");
    let span = tracing::info_span!(
        "request",
        request_id = context.request_id(),
        trace_id = context.traceparent().map(trace_id),
        method = %request.method(),
        path = context.path(),
        status = tracing::field::Empty,
    );
    request.extensions_mut().insert(context);
    let mut response = next(request).instrument(span.clone()).await;
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, id);
    security::protect(headers);
    let status = response.status();
    if status.is_server_error() || tracing::enabled!(tracing::Level::DEBUG) {
        span.record("status", status.as_u16()); // formats all fields of the span again: only where they are read
    }
    let elapsed_ms = begun.elapsed().as_millis();
    span.in_scope(|| match status.is_server_error() {
        true => tracing::warn!(elapsed_ms, "answered with a failure of ours"),
        false => tracing::debug!(elapsed_ms, "answered"),
    });
    response
}
