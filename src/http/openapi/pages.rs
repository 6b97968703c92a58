//! `/docs`: Swagger UI, whose files are part of the binary.

use crate::http::problem::Problem;
use axum::extract::Path;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use std::sync::{Arc, LazyLock};
use utoipa_swagger_ui::Config;

/// These pages load scripts, styles and documents from this service alone, and nobody frames them.
/// Swagger UI writes style attributes and shows images that are part of its style sheet.
pub(super) const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
     font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// The script that starts Swagger UI; ours also logs in.
const START: &str = "swagger-initializer.js";

/// These pages
#[utoipa::path(get, path = "/docs", responses((
    status = 200, description = "Swagger UI.", content_type = "text/html", body = String, example = "<!DOCTYPE html>",
)))]
pub(crate) async fn index() -> Result<Response, Problem> {
    answer("index.html")
}

/// A file of the pages.
pub(crate) async fn file(Path(name): Path<String>) -> Result<Response, Problem> {
    answer(&name)
}

fn answer(name: &str) -> Result<Response, Problem> {
    static CONFIG: LazyLock<Arc<Config<'static>>> = LazyLock::new(|| Arc::new(Config::from("/openapi.json")));
    let file = utoipa_swagger_ui::serve(name, CONFIG.clone()).map_err(|_| Problem::internal())?;
    let file = file.ok_or_else(Problem::no_such_path)?;
    let bytes = match name {
        "index.html" => below_docs(&file.bytes),
        START => include_bytes!("docs.js").to_vec(),
        _ => file.bytes.into_owned(),
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_str(&file.content_type).map_err(|_| Problem::internal())?),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    Ok((headers, bytes).into_response())
}

/// The first page is the same with and without a slash at the end, so it names its files in full.
fn below_docs(page: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(page)
        .replace("\"./", "\"/docs/")
        .replace("href=\"index.css", "href=\"/docs/index.css")
        .into_bytes()
}
