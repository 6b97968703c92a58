//! What holds for every request: a trailing slash means nothing, a panic is an answer, every error has one
//! shape, every response an id.
//!
//! The steps are functions around one router of axum's. As layers of it each would clone and box what is within it,
//! for every request.

use super::middleware::{head, limits, request_id, security};
use super::problem;
use crate::config::Protection;
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, Method, header};
use axum::response::Response;
use std::convert::Infallible;
use std::sync::Arc;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_http::cors::CorsLayer;
use tower_http::normalize_path::{NormalizePath, NormalizePathLayer};

/// The whole HTTP interface. Cheap to clone.
#[derive(Clone)]
pub struct Edge(Arc<Inner>);

struct Inner {
    routes: NormalizePath<Router>,
    bodies: limits::UnfinishedBodies,
    strict_transport: Option<HeaderValue>,
    cors: Option<CorsLayer>,
}

impl Edge {
    /// `routes`, which browsers and TLS mean nothing to.
    pub(super) fn new(routes: Router) -> Self {
        Self(Arc::new(Inner::new(routes)))
    }

    /// `routes`, with the headers that `protection` asks for.
    pub(super) fn protected(routes: Router, protection: &Protection) -> Self {
        let strict_transport = security::strict_transport(protection);
        Self(Arc::new(Inner { strict_transport, cors: security::cors(protection), ..Inner::new(routes) }))
    }

    pub(super) async fn answer(&self, request: Request) -> Response {
        let Some(pages) = &self.0.cors else { return self.0.surround(request).await };
        let inner = service_fn(async |request| Ok(self.0.surround(request).await));
        infallible(Box::pin(pages.layer(inner).oneshot(request)).await)
    }
}

impl Inner {
    fn new(routes: Router) -> Self {
        Self {
            routes: NormalizePathLayer::trim_trailing_slash().layer(routes),
            bodies: limits::UnfinishedBodies::default(),
            strict_transport: None,
            cors: None,
        }
    }

    /// The steps around everything, from the outside in.
    async fn surround(&self, request: Request) -> Response {
        let is_head = request.method() == Method::HEAD;
        let handle = async |mut request: Request| {
            request.extensions_mut().insert(self.bodies.clone());
            infallible(self.routes.clone().call(request).await)
        };
        let judged = |request| head::judge(request, handle);
        let caught = |request| problem::catch_panic(request, judged);
        let rendered = |request| problem::render(request, caught);
        let mut response = request_id::identify(request, rendered).await;
        if let Some(value) = &self.strict_transport {
            response.headers_mut().insert(header::STRICT_TRANSPORT_SECURITY, value.clone());
        }
        if is_head { without_body(response) } else { response }
    }
}

/// The answer to `HEAD`: the length of the body, which is not sent.
fn without_body(mut response: Response) -> Response {
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    *response.body_mut() = Body::empty();
    response
}

fn infallible(answer: Result<Response, Infallible>) -> Response {
    match answer {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
