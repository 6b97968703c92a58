//! Several steps as one layer of axum's.
//!
//! `axum::middleware::from_fn` does the same, but boxes what is within it a second time, and takes each request apart
//! for its state.

use axum::extract::Request;
use axum::response::Response;
use axum::routing::Route;
use futures::FutureExt;
use futures::future::BoxFuture;
use std::convert::Infallible;
use std::task::{Context, Poll};
use tower::{Layer, Service};

/// `steps` around each route, with what they need.
#[derive(Clone)]
pub(crate) struct Steps<N, F> {
    needs: N,
    steps: F,
}

/// A route within its steps.
#[derive(Clone)]
pub(crate) struct Surrounded<N, F> {
    layer: Steps<N, F>,
    route: Route,
}

impl<N, F, R> Steps<N, F>
where
    F: Fn(N, Route, Request) -> R,
{
    pub(crate) fn new(needs: N, steps: F) -> Self {
        Self { needs, steps }
    }
}

impl<N: Clone, F: Clone> Layer<Route> for Steps<N, F> {
    type Service = Surrounded<N, F>;

    fn layer(&self, route: Route) -> Self::Service {
        Surrounded { layer: self.clone(), route }
    }
}

impl<N, F, R> Service<Request> for Surrounded<N, F>
where
    N: Clone,
    F: Fn(N, Route, Request) -> R,
    R: Future<Output = Response> + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(())) // as every route
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Steps { needs, steps } = &self.layer;
        steps(needs.clone(), self.route.clone(), request).map(Ok).boxed()
    }
}

/// The route's answer.
pub(crate) async fn answered(mut route: Route, request: Request) -> Response {
    match route.call(request).await {
        Ok(response) => response,
        Err(never) => match never {},
    }
}
