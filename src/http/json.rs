//! An answer in JSON.

use super::problem::Problem;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// As `axum::Json`, whose buffer takes twice as many instructions.
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(body) => ([(header::CONTENT_TYPE, JSON)], body).into_response(),
            Err(cause) => {
                tracing::error!(error = %cause, "an answer cannot be written as JSON");
                Problem::internal().into_response()
            }
        }
    }
}
