//! Measures every request and makes it the beginning of a trace.
//!
//! By the route's template and never by the raw path, of which there are as many as a client likes.

use crate::http::context::Context;
use crate::telemetry::{Kind, RequestFields, Span, within_request};
use axum::extract::{MatchedPath, Request};
use axum::http::{Method, StatusCode};
use axum::response::Response;
use metrics::{Counter, Gauge, Histogram};
use parking_lot::RwLock;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The route of a request that no route takes.
const UNMATCHED: &str = "unmatched";

/// The metrics of requests. The handle of each series is kept: finding it by its labels costs more than counting.
pub(crate) struct Requests {
    in_flight: Gauge,
    /// By route. They are few: a route knows its methods, and answers with the statuses of its document.
    answered: RwLock<HashMap<Box<str>, Vec<Series>>>,
}

struct Series {
    method: &'static str,
    status: StatusCode,
    seconds: Histogram,
    total: Counter,
}

/// One request that is being worked on; counts itself out when it ends, however that is.
struct InFlight<'a>(&'a Gauge);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

impl Requests {
    pub(crate) fn new() -> Self {
        Self {
            in_flight: metrics::gauge!("offers_http_requests_in_flight"),
            answered: RwLock::new(HashMap::new()),
        }
    }

    fn begin(&self) -> InFlight<'_> {
        self.in_flight.increment(1);
        InFlight(&self.in_flight)
    }

    fn count(&self, route: &str, method: &'static str, status: StatusCode, took: Duration) {
        let is_it = |series: &&Series| (series.method, series.status) == (method, status);
        if let Some(series) = self.answered.read().get(route).and_then(|all| all.iter().find(is_it)) {
            return series.count(took);
        }
        let series = Series::of(route, method, status);
        series.count(took);
        self.answered.write().entry(route.into()).or_default().push(series);
    }
}

impl Series {
    fn of(route: &str, method: &'static str, status: StatusCode) -> Self {
        let (route, code) = (route.to_owned(), status.as_str().to_owned());
        Self {
            method,
            status,
            seconds: metrics::histogram!("offers_http_request_seconds", "route" => route.clone(), "method" => method),
            total: metrics::counter!("offers_http_requests_total", "route" => route, "method" => method, "status" => code),
        }
    }

    fn count(&self, took: Duration) {
        self.seconds.record(took);
        self.total.increment(1);
    }
}

pub(crate) async fn measure<F>(
    requests: &Requests,
    mut request: Request,
    next: impl FnOnce(Request) -> F,
) -> Response
where
    F: Future<Output = Response>,
{
    let (begun, _in_flight) = (Instant::now(), requests.begin());
    let path = request.extensions().get::<MatchedPath>().cloned();
    let route = path.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
    let method = known(request.method());
    let mut span = Span::begin(Kind::Server, method, traceparent(&request));
    let response = match follow(&mut span, &mut request, method, route) {
        Some(logged) => within_request(logged, next(request)).await,
        None => next(request).await,
    };
    let status = response.status();
    span.note("http.response.status_code", i64::from(status.as_u16()));
    if status.is_server_error() {
        span.failed(status.canonical_reason().unwrap_or_default());
    }
    requests.count(route, method, status, begun.elapsed());
    response
}

/// Begins the request's span, under the caller's if it sent one, and lets all that follows belong to it.
fn traceparent(request: &Request) -> Option<&str> {
    request.extensions().get::<Context>()?.traceparent()
}

/// Makes `span` the one that the request is within; `None` while tracing is off.
fn follow(
    span: &mut Span,
    request: &mut Request,
    method: &'static str,
    route: &str,
) -> Option<Arc<dyn RequestFields>> {
    let traceparent = span.traceparent()?;
    let context = request.extensions().get::<Context>()?.clone();
    span.named(format!("{method} {route}"));
    span.note("http.request.method", method);
    span.note("http.route", route.to_owned());
    span.note("offers.request_id", context.request_id().to_owned());
    let within = context.within(traceparent);
    let logged = within.logged();
    request.extensions_mut().insert(within);
    Some(logged)
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
