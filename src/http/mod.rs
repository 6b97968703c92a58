//! The HTTP edge: all routes on one screen, one file a resource, and the rules that hold for all.
//!
//! A handler extracts, calls a use case, and answers. Errors are named where they arise and written by
//! `problem` alone. **Architecture Invariant:** nothing here names a database, a cache or a bus.

mod context;
#[cfg(test)]
mod edge_tests;
mod extract;
mod middleware;
mod openapi;
mod problem;
mod resources;
mod routes;
mod server;

pub use openapi::openapi_document;
pub use problem::{Code, FieldError, Problem};
pub use server::serve;

use crate::app::App;
use crate::config::Protection;
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{delete, get, patch, post};
use middleware::{limits, observe, rate_limit, security};
use resources::{account, activation, admin, audit, auth, health, offers, partner, renewals, status};
use routes::Routes;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tower::Layer;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::normalize_path::NormalizePathLayer;

/// What handlers share.
type Shared = Arc<App>;

/// The whole HTTP interface of `app`, behind `protection`.
pub fn router(app: Arc<App>, protection: &Protection) -> Router {
    let gate = Arc::new(rate_limit::Gate::new(app.clone(), protection));
    let slots = Arc::new(Semaphore::new(limits::MAX_IN_FLIGHT));
    let api = Router::new()
        .nest("/api/v1", api().router)
        .layer(from_fn_with_state(limits::REQUEST_TIMEOUT, limits::time_out))
        .layer(from_fn_with_state(slots, limits::shed))
        .layer(from_fn_with_state(gate, rate_limit::pass));
    let routes = api.merge(watched()).merge(openapi::routes()).layer(from_fn(observe::measure));
    let mut routes = around(routes.with_state(app));
    if let Some(told) = security::strict_transport(protection) {
        routes = routes.layer(from_fn_with_state(told, security::over_tls_alone));
    }
    match security::cors(protection) {
        Some(pages) => routes.layer(pages),
        None => routes,
    }
}

/// What machines watch, alone: for an address that only they reach.
pub fn watch_router(app: Arc<App>) -> Router {
    around(watched().with_state(app))
}

fn watched() -> Router<Shared> {
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
}

/// Every path below `/api/v1`, as the router has it: `/offers/{id}`.
#[must_use]
pub fn paths() -> Vec<&'static str> {
    api().paths
}

fn api() -> Routes {
    Routes::default()
        .route("/auth/login", post(auth::login))
        .route("/auth/refresh", post(auth::refresh))
        .route("/auth/logout", post(auth::logout))
        .route("/auth/profile", get(auth::profile))
        .route("/offers", get(offers::list))
        .route("/offers/expiring", get(renewals::expiring))
        .route("/offers/renew", post(renewals::renew))
        .route("/offers/{id}", get(offers::detail))
        .route("/account", get(account::overview))
        .route("/account/balance", get(account::balance))
        .route("/account/subscriptions", get(account::subscriptions))
        .route("/account/transactions", get(account::transactions))
        .route("/account/transactions/{id}", get(account::transaction_detail))
        .route("/activation", post(activation::activate))
        .route("/activation/status/{id}", get(status::status))
        .route("/partner/activate", post(partner::activate))
        .route("/partner/validate/{reference}", get(partner::validate))
        .route("/partner/transactions", get(partner::transactions))
        .route("/partner/balance", get(partner::balance))
        .route("/partner/callbacks/test", post(partner::test_callback))
        .route("/partner/callbacks/{id}", get(partner::callback))
        .route("/admin/users", get(admin::users::list_all).post(admin::users::create))
        .route("/admin/users/{id}", get(admin::users::detail).patch(admin::users::change))
        .route("/admin/accounts/{id}", get(admin::accounts::detail))
        .route("/admin/accounts/{id}/credit", post(admin::accounts::credit))
        .route("/admin/accounts/{id}/debit", post(admin::accounts::debit))
        .route("/admin/offers", post(admin::offers::create))
        .route("/admin/offers/{id}", patch(admin::offers::change))
        .route("/admin/partners", get(admin::partners::list_all).post(admin::partners::create))
        .route("/admin/partners/{id}", get(admin::partners::detail).patch(admin::partners::change))
        .route(
            "/admin/partners/{id}/keys",
            get(admin::partner_keys::list_all).post(admin::partner_keys::create),
        )
        .route("/admin/partners/{id}/keys/{key_id}", delete(admin::partner_keys::revoke))
        .route("/admin/partners/{id}/webhook-secret", post(admin::partner_keys::rotate_secret))
        .route("/admin/transactions", get(admin::transactions::list_all))
        .route("/admin/callbacks", get(admin::callbacks::list_all))
        .route("/admin/callbacks/{id}", get(admin::callbacks::detail))
        .route("/admin/callbacks/{id}/resend", post(admin::callbacks::resend))
        .route("/admin/parked", get(admin::parked::list_all))
        .route("/admin/parked/{id}", get(admin::parked::detail))
        .route("/admin/parked/{id}/requeue", post(admin::parked::requeue))
        .route("/audit/events", get(audit::events))
        .route("/audit/accounts/{id}/balance", get(audit::balance))
        .route("/audit/transactions/{id}", get(audit::transaction))
}

/// What holds for every request to `routes`, from the inside out: a trailing slash means nothing, a
/// panic is an answer, every error has one shape, every response an id.
fn around(routes: Router) -> Router {
    let slash_or_not = NormalizePathLayer::trim_trailing_slash().layer(routes);
    Router::new()
        .fallback_service(slash_or_not)
        .layer(CatchPanicLayer::custom(problem::of_panic))
        .layer(from_fn(problem::render))
        .layer(from_fn(context::around))
}
