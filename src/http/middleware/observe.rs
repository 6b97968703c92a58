//! Measures every request and makes it the beginning of a trace.
//!
//! By the route's template and never by the raw path, of which there are as many as a client likes.

use crate::http::context::Context;
use crate::telemetry::{Kind, Span};
use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use std::time::Instant;

/// The route of a request that no route takes.
const UNMATCHED: &str = "unmatched";

/// One request that is being worked on; counts itself out when it ends, however that is.
struct InFlight;

impl InFlight {
    fn begin() -> Self {
        metrics::gauge!("offers_http_requests_in_flight").increment(1);
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        metrics::gauge!("offers_http_requests_in_flight").decrement(1);
    }
}

pub(crate) async fn measure(mut request: Request, next: Next) -> Response {
    let (begun, _in_flight) = (Instant::now(), InFlight::begin());
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or_else(|| UNMATCHED.to_owned(), |path| path.as_str().to_owned());
    let method = known(request.method());
    let mut span = follow(&mut request, method, &route);
    let response = next.run(request).await;
    let status = response.status();
    span.note("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.failed(status.canonical_reason().unwrap_or_default());
    }
    metrics::histogram!("offers_http_request_seconds", "route" => route.clone(), "method" => method)
        .record(begun.elapsed());
    let status = status.as_str().to_owned();
    metrics::counter!("offers_http_requests_total", "route" => route, "method" => method, "status" => status)
        .increment(1);
    response
}

/// Begins the request's span, under the caller's if it sent one, and lets all that follows belong to it.
fn follow(request: &mut Request, method: &'static str, route: &str) -> Span {
    let Some(context) = request.extensions().get::<Context>().cloned() else {
        return Span::begin(Kind::Server, method, None);
    };
    let mut span = Span::begin(Kind::Server, method, context.traceparent());
    if let Some(traceparent) = span.traceparent() {
        span.named(format!("{method} {route}"));
        span.note("http.request.method", method);
        span.note("http.route", route.to_owned());
        span.note("offers.request_id", context.request_id().to_owned());
        request.extensions_mut().insert(context.within(traceparent));
    }
    span
}

/// The method as metrics name it; clients may invent others.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}
