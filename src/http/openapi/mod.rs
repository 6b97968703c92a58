//! What the service says about itself: its HTTP interface (OpenAPI), its events (AsyncAPI and JSON
//! Schemas), and pages to read them with. All of it comes out of the binary; nothing is fetched.

mod answer;
#[expect(dead_code, reason = "bodies are described here, not made")]
mod api;
mod asyncapi;
mod caller;
mod document;
mod events;
mod examples;
mod headers;
mod operation;
mod pages;
mod problems;
mod schemas;
#[cfg(test)]
mod tests;
mod texts;

use super::Shared;
use super::problem::Problem;
use axum::Router;
use axum::extract::Path;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::Value;
use std::sync::LazyLock;

/// What is served of it.
pub(crate) fn routes() -> Router<Shared> {
    Router::new()
        .route("/openapi.json", get(openapi))
        .route("/asyncapi.json", get(asyncapi))
        .route("/schemas/{event}/{version}", get(event_schema))
        .route("/docs", get(pages::page))
        .route("/docs/{*file}", get(pages::page))
}

/// The OpenAPI document.
#[must_use]
pub fn openapi_document() -> Value {
    document::document()
}

/// `GET /openapi.json`
async fn openapi() -> impl IntoResponse {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| document::document().to_string());
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}

/// `GET /asyncapi.json`
async fn asyncapi() -> impl IntoResponse {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| asyncapi::document().to_string());
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}

/// `GET /schemas/<aggregate>.<event>/<version>.json`: where every message's `dataschema` points.
async fn event_schema(Path(names): Path<(String, String)>) -> Result<impl IntoResponse, Problem> {
    let path = format!("/schemas/{}/{}", names.0, names.1);
    let known =
        events::ALL.iter().find(|event| event.schema_path() == path).ok_or_else(Problem::no_such_path)?;
    Ok(([(header::CONTENT_TYPE, "application/schema+json")], known.document().to_string()))
}
