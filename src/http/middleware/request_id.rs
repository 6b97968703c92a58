//! A request's id, on its response and in every line of the log that is written for it.

use super::security;
use crate::http::context::Context;
use crate::http::headers::X_REQUEST_ID;
use crate::telemetry::within_request;
use axum::extract::Request;
use axum::http::HeaderValue;
use axum::response::Response;
use std::time::Instant;

/// Around everything: its id on the response and in the log, and nothing kept by caches on the way unless a handler says
/// so.
pub(crate) async fn identify<F>(mut request: Request, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let begun = Instant::now();
    let context = Context::of(&request);
    let id = HeaderValue::from_str(context.request_id()).expect("a request id is visible ASCII");
    let logged = context.logged();
    request.extensions_mut().insert(context);
    let answered = async {
        let response = next(request).await;
        let (status, elapsed_ms) = (response.status(), begun.elapsed().as_millis());
        match status.is_server_error() {
            true => tracing::warn!(status = status.as_u16(), elapsed_ms, "answered with a failure of ours"),
            false => tracing::debug!(status = status.as_u16(), elapsed_ms, "answered"),
        }
        response
    };
    let mut response = within_request(logged, answered).await;
    let headers = response.headers_mut();
    headers.insert(X_REQUEST_ID, id);
    security::protect(headers);
    response
}
