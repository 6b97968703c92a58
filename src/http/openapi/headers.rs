//! The headers of requests and answers, each described once.

use super::api::values::text;
use utoipa::openapi::header::{Header, HeaderBuilder};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::openapi::{Ref, Required};

pub(crate) const REQUEST_ID: &str = "X-Request-Id";
pub(crate) const TRACEPARENT: &str = "traceparent";
pub(crate) const LOCATION: &str = "Location";
pub(crate) const ETAG: &str = "ETag";
pub(crate) const RETRY_AFTER: &str = "Retry-After";
pub(crate) const ALLOW: &str = "Allow";
pub(crate) const WWW_AUTHENTICATE: &str = "WWW-Authenticate";
pub(crate) const IDEMPOTENT_REPLAYED: &str = "Idempotent-Replayed";
pub(crate) const PREFERENCE_APPLIED: &str = "Preference-Applied";
pub(crate) const RATE_LIMIT: &str = "RateLimit";
pub(crate) const RATE_LIMIT_POLICY: &str = "RateLimit-Policy";

/// Name, meaning, example.
const SENT: [(&str, &str, &str); 10] = [
    (
        REQUEST_ID,
        "The caller's own id for the request if it was 1 to 128 visible ASCII characters, else a fresh one.",
        "0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11",
    ),
    (
        LOCATION,
        "Where what was made or begun can be read.",
        "/api/v1/activation/status/0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11/",
    ),
    (
        ETAG,
        "The version of the body; sent back in `If-None-Match` it saves the body when nothing has changed.",
        "\"5d41402abc4b2a76b9719d911017c592\"",
    ),
    (RETRY_AFTER, "Seconds to wait before trying again.", "1"),
    (ALLOW, "The methods that the path has.", "GET,HEAD"),
    (WWW_AUTHENTICATE, "How to say who calls (RFC 9110).", "Bearer"),
    (IDEMPOTENT_REPLAYED, "`true` on an answer that was given before; absent on the first.", "true"),
    (PREFERENCE_APPLIED, "The wait that was kept (RFC 7240), at most 30 seconds.", "wait=30"),
    (RATE_LIMIT, "What is left of the caller's budget and when it is whole again.", "\"user\";r=99;t=1"),
    (RATE_LIMIT_POLICY, "The caller's budget: requests and seconds.", "\"user\";q=100;w=60"),
];

/// Those of answers, by name.
pub(crate) fn sent() -> impl Iterator<Item = (&'static str, Header)> {
    SENT.into_iter().map(|(name, what, example)| {
        let header = HeaderBuilder::new().schema(Some(Schema::from(text(0, 1024)))).description(Some(what));
        (name, header.example(Some(example.into())).build())
    })
}

/// Those that every request may carry, by name.
pub(crate) fn taken() -> [(&'static str, Parameter); 2] {
    let header = |name, what| {
        let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Header);
        parameter.required(Required::False).description(Some(what)).schema(Some(any_text())).build()
    };
    let own_id = "The caller's own id for this request, 1 to 128 visible ASCII characters; any other is \
                  replaced. Repeated on the answer, kept with the events.";
    let trace =
        "W3C trace context, kept with the events and passed on. Passed over when it has another form.";
    [(REQUEST_ID, header(REQUEST_ID, own_id)), (TRACEPARENT, header(TRACEPARENT, trace))]
}

/// What has no form of its own.
pub(crate) fn any_text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

pub(crate) fn reference(name: &str) -> Ref {
    Ref::new(format!("#/components/headers/{name}"))
}
