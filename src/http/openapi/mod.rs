//! What the service says about itself: its HTTP interface (OpenAPI), its events (AsyncAPI and JSON
//! Schemas), and pages to read them with. All of it comes out of the binary; nothing is fetched.

mod asyncapi;
mod conventions;
mod document;
mod doors;
mod events;
mod examples;
mod headers;
mod pages;
#[cfg(test)]
mod tests;

pub(crate) use conventions::refusals;

use super::problem::Problem;
use super::{Code, Shared};
use axum::Extension;
use axum::extract::Path;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::{Arc, LazyLock};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// What is served of it.
pub(crate) fn routes(served: Served) -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .routes(routes!(openapi))
        .layer(Extension(served))
        .routes(routes!(doors::doors))
        .routes(routes!(asyncapi))
        .routes(routes!(event_schema))
        .routes(routes!(pages::index))
        .route("/docs/{*file}", get(pages::file))
}

#[must_use]
pub fn openapi_document() -> Value {
    document::document(super::routes().into_openapi())
}

/// The text of the document, if it is not the usual one.
#[derive(Clone, Default)]
pub(crate) struct Served(Option<Arc<str>>);

impl Served {
    /// With the ids and logins of demo data as its examples.
    pub(crate) fn with_examples(examples: Option<&Value>) -> Self {
        Self(examples.map(|examples| {
            let mut document = openapi_document();
            examples::put_into(&mut document, examples);
            document.to_string().into()
        }))
    }
}

/// A document in JSON.
#[derive(ToSchema)]
struct Document {}

/// This document
#[utoipa::path(get, path = "/openapi.json", responses((status = 200, description = "OpenAPI 3.1.", body = Document)))]
async fn openapi(Extension(Served(served)): Extension<Served>) -> impl IntoResponse {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| openapi_document().to_string());
    let document = served.map_or(Cow::Borrowed(DOCUMENT.as_str()), |text| Cow::Owned(text.to_string()));
    ([(header::CONTENT_TYPE, "application/json")], document)
}

/// The events
#[utoipa::path(get, path = "/asyncapi.json", responses((status = 200, description = "AsyncAPI 3.0.", body = Document)))]
async fn asyncapi() -> impl IntoResponse {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| asyncapi::document().to_string());
    ([(header::CONTENT_TYPE, "application/json")], DOCUMENT.as_str())
}

/// What an event's payload is
///
/// Every message's `dataschema` points here.
#[utoipa::path(get, path = "/schemas/{event}/{version}",
    params(
        ("event" = String, Path, description = "`<aggregate>.<event>` in snake case.",
            min_length = 1, max_length = 100, example = "transaction.succeeded"),
        ("version" = String, Path, description = "`1.0.json`", min_length = 1, max_length = 20, example = "1.0.json"),
    ),
    responses((status = 200, description = "JSON Schema 2020-12.", content_type = "application/schema+json", body = Document)),
    extensions(("x-refusals" = json!(refusals(&[Code::NotFound])))))]
async fn event_schema(Path(names): Path<(String, String)>) -> Result<impl IntoResponse, Problem> {
    let path = format!("/schemas/{}/{}", names.0, names.1);
    let known =
        events::ALL.iter().find(|event| event.schema_path() == path).ok_or_else(Problem::no_such_path)?;
    Ok(([(header::CONTENT_TYPE, "application/schema+json")], known.document().to_string()))
}
