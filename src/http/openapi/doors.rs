//! `/`: where everything is, as a page for a browser and as JSON for a program.

use super::pages::POLICY;
use crate::http::extract::preferences;
use crate::http::json::Json;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::sync::LazyLock;
use utoipa::ToSchema;

const HTML: &str = "text/html";

/// Paths, and what is behind them.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Doors {
    #[schema(min_items = 1)]
    doors: &'static [Door],
}

#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Door {
    #[schema(example = "/docs")]
    path: &'static str,
    #[schema(example = "The API, to read and to try")]
    description: &'static str,
}

const DOORS: &[Door] = &[
    Door { path: "/docs", description: "The API, to read and to try" },
    Door { path: "/openapi.json", description: "The same for programs (OpenAPI)" },
    Door { path: "/asyncapi.json", description: "The events (AsyncAPI)" },
    Door { path: "/readyz", description: "Health: can it serve, and with what" },
    Door { path: "/livez", description: "Health: does the process answer" },
];

/// Where everything is
///
/// As JSON, or as a page when the client likes `text/html` as much.
#[utoipa::path(get, path = "/", responses((status = 200, description = "The doors.",
    content((Doors = "application/json"), (String = "text/html", example = "<!DOCTYPE html>")))))]
pub(crate) async fn doors(headers: HeaderMap) -> Response {
    if !preferences::wants(HTML, &headers) {
        return Json(Doors { doors: DOORS }).into_response();
    }
    static PAGE: LazyLock<String> = LazyLock::new(page);
    let html = HeaderValue::from_static(HTML);
    ([(header::CONTENT_TYPE, html), (header::CONTENT_SECURITY_POLICY, POLICY)], PAGE.as_str()).into_response()
}

fn page() -> String {
    let door =
        |Door { path, description }: &Door| format!(r#"<li><a href="{path}">{path}</a>: {description}</li>"#);
    include_str!("doors.html").replace("{doors}", &DOORS.iter().map(door).collect::<Vec<_>>().join("\n"))
}
