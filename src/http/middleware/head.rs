//! Judges what the head of a request says before any route sees it.

use crate::http::problem::{Code, Problem};
use axum::extract::Request;
use axum::http::{Version, header};
use axum::response::{IntoResponse, Response};

/// Refuses a request without exactly one `Host` (RFC 9112 3.2), and a path with an empty part: `//` would
/// become the beginning of another host in a relative link.
pub(crate) async fn judge<F>(request: Request, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let hosts = request.headers().get_all(header::HOST).iter().count();
    if hosts > 1 || (hosts == 0 && request.version() == Version::HTTP_11) {
        return Problem::new(Code::InvalidRequest, "A request has exactly one Host header").into_response();
    }
    if request.uri().path().contains("//") {
        return Problem::no_such_path().into_response();
    }
    next(request).await
}
