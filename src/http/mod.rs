//! The HTTP edge: all routes on one screen, one file a resource, and the rules that hold for all.
//!
//! A handler extracts, calls a use case, and answers. Errors are named where they arise and written by
//! `problem` alone. **Architecture Invariant:** nothing here names a database, a cache or a bus.

mod context;
mod edge;
#[cfg(test)]
mod edge_tests;
mod extract;
mod headers;
mod held;
mod json;
mod middleware;
mod openapi;
mod problem;
mod resources;
mod server;
mod values;
mod wire;

pub use edge::Edge;
pub use openapi::openapi_document;
pub use problem::{Code, FieldError, Problem};
pub use server::{Connections, listen, serve};

use crate::app::App;
use crate::config::Protection;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::Route;
use middleware::layer::{Steps, answered};
use middleware::{limits, observe, rate_limit, refusals};
use resources::{
    account, activation, admin, audit, auth, health, offers, partner, partner_callbacks, partner_keys,
    partner_profile, proofs, renewals, sessions, statement, status,
};
use std::sync::Arc;
use tokio::sync::Semaphore;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;

/// Below this lies everything but what watches and describes the service.
const API: &str = "/api/v1";

type Shared = Arc<App>;

/// The whole HTTP interface of `app`, behind `protection`; without `/metrics` where these have an address
/// of their own. `examples` are ids and logins of demo data, for the document.
pub fn router(
    app: Arc<App>,
    protection: &Protection,
    with_metrics: bool,
    examples: Option<&serde_json::Value>,
) -> Edge {
    let gate = Arc::new(Gate::new(&app, protection));
    let gated = api().merge(ready()).merge(openapi::routes(openapi::Served::with_examples(examples)));
    let gated = if with_metrics { gated.merge(metrics()) } else { gated };
    let gated = gated.split_for_parts().0.layer(Steps::new(gate.clone(), pass));
    let live = live().split_for_parts().0.layer(Steps::new(gate, measure));
    Edge::protected(gated.merge(live).with_state(app), protection)
}

/// What the steps around the routes need.
struct Gate {
    app: Shared,
    requests: observe::Requests,
    limiter: rate_limit::RateLimiter,
    slots: Arc<Semaphore>,
    waits: limits::Waits,
}

impl Gate {
    fn new(app: &Shared, protection: &Protection) -> Self {
        Self {
            app: app.clone(),
            requests: observe::Requests::new(),
            limiter: rate_limit::RateLimiter::new(app.clone(), protection),
            slots: Arc::new(Semaphore::new(limits::MAX_IN_FLIGHT)),
            waits: limits::Waits::default(),
        }
    }
}

/// The steps around a route, from the outside in.
async fn pass(gate: Arc<Gate>, route: Route, request: Request) -> Response {
    let handle = |mut request: Request| {
        request.extensions_mut().insert(gate.waits.clone());
        answered(route, request)
    };
    let in_time = |request| limits::time_out(limits::REQUEST_TIMEOUT, request, handle);
    let in_a_slot = |request| limits::shed(&gate.slots, request, in_time);
    let recorded = |request| refusals::record(&gate.app, request, in_a_slot);
    let limited = |request| rate_limit::enforce(&gate.limiter, request, recorded);
    observe::measure(&gate.requests, request, limited).await
}

/// The one step around what passes every gate.
async fn measure(gate: Arc<Gate>, route: Route, request: Request) -> Response {
    observe::measure(&gate.requests, request, |request| answered(route, request)).await
}

/// Health and metrics alone: for an address that only monitoring reaches.
pub fn watch_router(app: Arc<App>) -> Edge {
    Edge::new(watched().split_for_parts().0.with_state(app))
}

/// All routes, as the document describes them.
fn routes() -> OpenApiRouter<Shared> {
    api().merge(watched()).merge(openapi::routes(openapi::Served::default()))
}

/// Every path below `/api/v1`, as the router has it: `/offers/{id}`.
#[must_use]
pub fn paths() -> Vec<String> {
    let document = openapi_document();
    let paths = document["paths"].as_object().into_iter().flat_map(|paths| paths.keys());
    paths
        .filter_map(|path| path.strip_prefix(API))
        .map(|path| path.trim_end_matches('/').to_owned())
        .collect()
}

fn watched() -> OpenApiRouter<Shared> {
    live().merge(ready()).merge(metrics())
}

/// Costs nothing and passes every gate: whether the process lives is asked when all places are taken.
fn live() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(health::live))
}

fn ready() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(health::ready))
}

fn metrics() -> OpenApiRouter<Shared> {
    OpenApiRouter::new().routes(routes!(health::metrics))
}

fn api() -> OpenApiRouter<Shared> {
    Below(OpenApiRouter::new())
        .routes(routes!(auth::login))
        .routes(routes!(auth::refresh))
        .routes(routes!(auth::logout))
        .routes(routes!(auth::profile))
        .routes(routes!(auth::change_password))
        .routes(routes!(sessions::list_own))
        .routes(routes!(sessions::end_own))
        .routes(routes!(offers::list))
        .routes(routes!(renewals::expiring))
        .routes(routes!(renewals::renew))
        .routes(routes!(offers::detail))
        .routes(routes!(account::overview))
        .routes(routes!(account::balance))
        .routes(routes!(statement::of_caller))
        .routes(routes!(account::subscriptions))
        .routes(routes!(account::transactions))
        .routes(routes!(account::transaction_detail))
        .routes(routes!(activation::activate))
        .routes(routes!(status::status))
        .routes(routes!(partner::activate))
        .routes(routes!(partner::validate))
        .routes(routes!(partner::transactions))
        .routes(routes!(partner::balance))
        .routes(routes!(statement::of_calling_partner))
        .routes(routes!(partner_profile::profile, partner_profile::change_profile))
        .routes(routes!(partner_keys::list_keys, partner_keys::create_key))
        .routes(routes!(partner_keys::revoke_key))
        .routes(routes!(partner_keys::rotate_secret))
        .routes(routes!(partner_callbacks::test_callback))
        .routes(routes!(partner_callbacks::list_callbacks))
        .routes(routes!(partner_callbacks::callback))
        .routes(routes!(partner_callbacks::resend_callback))
        .routes(routes!(audit::events))
        .routes(routes!(audit::balance))
        .routes(routes!(audit::transaction))
        .routes(routes!(proofs::checkpoint))
        .routes(routes!(proofs::key))
        .routes(routes!(proofs::receipt))
        .routes(routes!(proofs::consistency))
        .routes(routes!(proofs::of_transaction))
        .routes(routes!(proofs::of_sale))
        .0
        .merge(administration())
}

/// What takes the role `admin`.
fn administration() -> OpenApiRouter<Shared> {
    Below(OpenApiRouter::new())
        .routes(routes!(admin::search::search))
        .routes(routes!(admin::users::create, admin::users::list_all))
        .routes(routes!(admin::users::detail, admin::users::change))
        .routes(routes!(sessions::list_of_user, sessions::end_all_of_user))
        .routes(routes!(admin::users::subscriptions))
        .routes(routes!(statement::of_user))
        .routes(routes!(admin::changes::of_user))
        .routes(routes!(admin::changes::list_all))
        .routes(routes!(admin::users::erase))
        .routes(routes!(admin::schedules::list_all))
        .routes(routes!(admin::mail::of_user))
        .routes(routes!(admin::mail::list_all))
        .routes(routes!(admin::mail::resend))
        .routes(routes!(admin::accounts::detail))
        .routes(routes!(admin::accounts::credit))
        .routes(routes!(admin::accounts::debit))
        .routes(routes!(admin::offers::create, admin::offers::list_all))
        .routes(routes!(admin::offers::change))
        .routes(routes!(admin::partners::list_all, admin::partners::create))
        .routes(routes!(admin::partners::detail, admin::partners::change))
        .routes(routes!(statement::of_partner))
        .routes(routes!(admin::partner_keys::list_all, admin::partner_keys::create))
        .routes(routes!(admin::partner_keys::revoke))
        .routes(routes!(admin::partner_keys::rotate_secret))
        .routes(routes!(admin::transactions::list_all))
        .routes(routes!(admin::transactions::detail))
        .routes(routes!(admin::interventions::retry))
        .routes(routes!(admin::interventions::resolve))
        .routes(routes!(admin::callbacks::list_all))
        .routes(routes!(admin::callbacks::detail))
        .routes(routes!(admin::callbacks::resend))
        .routes(routes!(admin::parked::list_all))
        .routes(routes!(admin::parked::detail))
        .routes(routes!(admin::parked::requeue))
        .0
}

/// Routes below [`API`]. `nest` does the same, but rewrites the URI of each request.
struct Below(OpenApiRouter<Shared>);

impl Below {
    fn routes(self, (schemas, mut paths, methods): UtoipaMethodRouter<Shared>) -> Self {
        let below = |(path, item)| (format!("{API}{path}"), item);
        paths.paths = paths.paths.into_iter().map(below).collect();
        Self(self.0.routes((schemas, paths, methods)))
    }
}
