//! What is known about a request in addition to what it asks for: its id, its trace, its path.
//!
//! The id is the caller's `X-Request-Id` when it is fit to be repeated, else a fresh one, and stands
//! on every response. Events carry our own id of the request instead: they are kept for ever, and a
//! client's text may hold anything. A W3C `traceparent` is kept as it came and passed on with the events.

use super::headers::{TRACEPARENT, X_REQUEST_ID};
use crate::telemetry::RequestFields;
use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use domain::Metadata;
use std::convert::Infallible;
use std::sync::Arc;
use uuid::Uuid;

/// The longest request id that is taken over from a caller, in bytes.
const MAX_REQUEST_ID: usize = 128;

/// One request's id, trace and path; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Context(Arc<RequestInfo>);

#[derive(Clone, Debug, Default)]
struct RequestInfo {
    request_id: String,
    correlation_id: Uuid,
    traceparent: Option<String>,
    method: Method,
    path: String,
    query: Option<String>,
}

impl RequestFields for RequestInfo {
    fn fields(&self) -> Vec<(&'static str, &str)> {
        let trace_id = self.traceparent.as_deref().map(|traceparent| ("trace_id", trace_id(traceparent)));
        let rest = [("method", self.method.as_str()), ("path", self.path.as_str())];
        std::iter::once(("request_id", self.request_id.as_str())).chain(trace_id).chain(rest).collect()
    }
}

impl Context {
    pub(super) fn of(request: &Request) -> Self {
        let headers = request.headers();
        let correlation_id = Uuid::now_v7();
        Self(Arc::new(RequestInfo {
            request_id: request_id(headers).unwrap_or_else(|| correlation_id.to_string()),
            correlation_id,
            traceparent: traceparent(headers),
            method: request.method().clone(),
            path: request.uri().path().to_owned(),
            query: request.uri().query().map(str::to_owned),
        }))
    }

    /// Of a request whose head could not be read.
    pub(super) fn unread() -> Self {
        let request_id = Uuid::now_v7().to_string();
        Self(Arc::new(RequestInfo { request_id, path: "/".to_owned(), ..RequestInfo::default() }))
    }

    /// What lines of the log say of this request.
    pub(super) fn logged(&self) -> Arc<dyn RequestFields> {
        self.0.clone()
    }

    /// The caller's id for this request, or ours.
    #[must_use]
    pub(super) fn request_id(&self) -> &str {
        &self.0.request_id
    }

    /// The path as the client wrote it, without the query.
    #[must_use]
    pub(super) fn path(&self) -> &str {
        &self.0.path
    }

    /// The query as the client wrote it.
    #[must_use]
    pub(super) fn query(&self) -> Option<&str> {
        self.0.query.as_deref()
    }

    /// The span that this request belongs to.
    #[must_use]
    pub(super) fn traceparent(&self) -> Option<&str> {
        self.0.traceparent.as_deref()
    }

    /// The same request, in another span.
    #[must_use]
    pub(super) fn within(&self, traceparent: String) -> Self {
        Self(Arc::new(RequestInfo { traceparent: Some(traceparent), ..(*self.0).clone() }))
    }

    /// What every event of this request says about who asked (`user:<id>`) and within which trace.
    #[must_use]
    pub(super) fn metadata(&self, actor: String) -> Metadata {
        Metadata {
            actor: Some(actor),
            traceparent: self.0.traceparent.clone(),
            ..Metadata::new(self.0.correlation_id)
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Context {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// The part of a `traceparent` that all spans of one trace share.
pub(super) fn trace_id(traceparent: &str) -> &str {
    traceparent.split('-').nth(1).unwrap_or_default()
}

fn request_id(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(X_REQUEST_ID)?.to_str().ok()?;
    let fit = (1..=MAX_REQUEST_ID).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    fit.then(|| text.to_owned())
}

/// The caller's trace context, if it has the form of <https://www.w3.org/TR/trace-context/>.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(TRACEPARENT)?.to_str().ok()?;
    let mut parts = text.split('-');
    let mut hex = |digits: usize| {
        let part = parts.next()?;
        let lower_hex = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (part.len() == digits && lower_hex).then_some(part)
    };
    let (version, trace, parent, _flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
    let names_something = |id: &str| id.bytes().any(|byte| byte != b'0');
    let fit = version == "00" && parts.next().is_none() && names_something(trace) && names_something(parent);
    fit.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn traced(text: &'static str) -> Option<String> {
        traceparent(&HeaderMap::from_iter([(TRACEPARENT, HeaderValue::from_static(text))]))
    }

    #[test]
    fn a_sound_traceparent_is_kept_as_it_came() {
        let sound = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(traced(sound).as_deref(), Some(sound));
    }

    #[test]
    fn an_unsound_traceparent_is_dropped() {
        for text in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            assert_eq!(traced(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_request_id_of_the_caller_is_1_to_128_visible_characters() {
        let read = |text: &str| {
            request_id(&HeaderMap::from_iter([(X_REQUEST_ID, HeaderValue::from_str(text).expect("a value"))]))
        };
        assert_eq!(read("a-b_c"), Some("a-b_c".to_owned()));
        assert!(read(&"x".repeat(128)).is_some());
        for text in ["", "a b", &"x".repeat(129)] {
            assert_eq!(read(text), None, "{text:?}");
        }
    }
}
