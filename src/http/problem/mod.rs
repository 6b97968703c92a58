//! What went wrong, as RFC 9457 problem details: the one shape of every error there is, and with
//! `code` the only place that picks a status.
//!
//! A handler only names the problem. [`render`], around everything else, writes the body, because
//! only there are the request's id and path known; it also gives this shape to the bare errors that
//! the framework answers (an unknown path, a wrong method).

pub(crate) mod code;
pub(crate) mod mapping;

pub use code::Code;

use super::context::Context;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use futures::FutureExt;
use serde::Serialize;
use serde_json::Value;
use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use utoipa::ToSchema;

/// How long a client should wait after a 503, unless something better is known.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// The media type of RFC 9457.
pub(crate) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Why a request is refused.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    /// Members of this path's own, in addition (RFC 9457, 3.2).
    members: Vec<(&'static str, Value)>,
    retry_after: Option<Duration>,
    /// A header of the answer, beyond those that follow from the code.
    header: Option<Box<(HeaderName, HeaderValue)>>,
}

/// A member of a body or a parameter of a query that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = WrongField)]
#[serde(deny_unknown_fields)]
pub struct FieldError {
    /// Its name as the client wrote it.
    #[schema(example = "offer_id")]
    pub field: String,
    /// What it should be.
    #[schema(example = "must be a UUID")]
    pub message: String,
}

/// What went wrong (RFC 9457). The one shape of every error.
#[derive(Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct Details<'a> {
    /// Names the code as a URI.
    #[schema(pattern = "^urn:offers:problem:[a-z_]+$", example = "urn:offers:problem:invalid_request")]
    r#type: String,
    /// The same for every problem of this code.
    #[schema(example = "The request is not valid")]
    title: &'a str,
    /// The status of the answer.
    #[schema(minimum = 400, maximum = 599, example = 400)]
    status: u16,
    /// For people.
    #[schema(example = "offer_id: must be a UUID")]
    detail: &'a str,
    /// The path that was asked for.
    #[schema(example = "/api/v1/activation/")]
    instance: &'a str,
    /// What a program switches on.
    #[schema(example = "invalid_request")]
    code: Code,
    /// As in the header `X-Request-Id`.
    #[schema(example = "0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11")]
    request_id: &'a str,
    /// The same text as `detail`.
    #[schema(example = "offer_id: must be a UUID")]
    error: &'a str,
    /// With `invalid_request`: each member or parameter that is wrong.
    #[schema(required = false)]
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [FieldError],
    #[schema(ignore)]
    #[serde(flatten)]
    members: BTreeMap<&'a str, &'a Value>,
}

impl Problem {
    /// A problem of `code`; `detail` is for people and names no other person and no secret.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        let waits = code.status() == StatusCode::SERVICE_UNAVAILABLE;
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            members: Vec::new(),
            retry_after: waits.then_some(RETRY_AFTER),
            header: None,
        }
    }

    /// `invalid_request`, with every field that is wrong.
    #[must_use]
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [only] => format!("{}: {}", only.field, only.message),
            several => format!("{} fields are not valid", several.len()),
        };
        Self { errors, ..Self::new(Code::InvalidRequest, detail) }
    }

    /// `invalid_request` for one field.
    pub fn invalid_field(field: &str, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError { field: field.to_owned(), message: message.into() }])
    }

    /// `missing_fields`, with every one of them.
    #[must_use]
    pub fn missing(fields: &[&str]) -> Self {
        let missing = |field: &&str| FieldError { field: (*field).to_owned(), message: "is required".into() };
        let detail = format!("Missing required fields: {}", fields.join(", "));
        Self { errors: fields.iter().map(missing).collect(), ..Self::new(Code::MissingFields, detail) }
    }

    /// The same with one member more.
    #[must_use]
    pub fn with(mut self, member: &'static str, value: impl Into<Value>) -> Self {
        self.members.push((member, value.into()));
        self
    }

    /// The same, to be tried again after `wait` (told in whole seconds, at least one).
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    /// The same with a header.
    #[must_use]
    pub fn header(self, name: HeaderName, value: HeaderValue) -> Self {
        Self { header: Some(Box::new((name, value))), ..self }
    }

    /// The stable name of what went wrong.
    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    /// There is no such path.
    #[must_use]
    pub fn no_such_path() -> Self {
        Self::new(Code::NotFound, "There is no such path")
    }

    /// A bug of ours; the cause is logged, never told.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(Code::InternalError, "Something went wrong on our side; it has been logged")
    }

    /// The problem behind a bare error status that the framework answered.
    fn of_status(status: StatusCode) -> Self {
        match status {
            StatusCode::NOT_FOUND => Self::no_such_path(),
            StatusCode::METHOD_NOT_ALLOWED => {
                Self::new(Code::MethodNotAllowed, "This path exists, but not with this method")
            }
            StatusCode::PAYLOAD_TOO_LARGE => Self::new(Code::BodyTooLarge, "The body is too large"),
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                Self::new(Code::UnsupportedMediaType, "The body must be application/json")
            }
            status if status.is_client_error() => Self::new(Code::InvalidRequest, "The request is not valid"),
            _ => Self::internal(),
        }
    }

    fn body(&self, context: &Context) -> Body {
        Body::from(self.json(self.code.status(), context))
    }

    /// The body of an answer with `status`.
    pub(in crate::http) fn json(&self, status: StatusCode, context: &Context) -> Vec<u8> {
        let details = Details {
            r#type: format!("urn:offers:problem:{}", self.code.as_str()),
            title: self.code.title(),
            status: status.as_u16(),
            detail: &self.detail,
            instance: context.path(),
            code: self.code,
            request_id: context.request_id(),
            error: &self.detail,
            errors: &self.errors,
            members: self.members.iter().map(|(name, value)| (*name, value)).collect(),
        };
        serde_json::to_vec(&details).expect("strings and a number are always JSON")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        let headers = response.headers_mut();
        if self.code.status() == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
        }
        if let Some((name, value)) = self.header.as_deref() {
            headers.insert(name, value.clone());
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// Rounded up, at least one.
fn whole_seconds(wait: Duration) -> u64 {
    let up = u64::from(wait.subsec_nanos() > 0);
    (wait.as_secs() + up).max(1)
}

/// Writes the body of every error that leaves the service.
pub(crate) async fn render<F>(request: Request, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let context = request.extensions().get::<Context>().cloned().unwrap_or_default();
    let mut response = next(request).await;
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if response.headers().get(header::CONTENT_TYPE).is_some_and(|is| is == PROBLEM_JSON) => {
            return response;
        }
        None => Problem::of_status(status),
    };
    *response.status_mut() = problem.code.status();
    *response.body_mut() = problem.body(&context);
    response.headers_mut().remove(header::CONTENT_LENGTH);
    response.headers_mut().insert(header::CONTENT_TYPE, PROBLEM_JSON);
    response
}

/// Answers when a handler panics; the panic itself goes to the log.
pub(crate) async fn catch_panic<F>(request: Request, next: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let answered = AssertUnwindSafe(async { next(request).await }).catch_unwind().await;
    answered.unwrap_or_else(of_panic)
}

fn of_panic(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    tracing::error!(panic = message, "a request handler panicked");
    Problem::internal().into_response()
}
