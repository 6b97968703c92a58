//! What the headers mean, each said once.

use serde_json::{Map, Value, json};

/// Of answers: name, meaning, example.
const SENT: [(&str, &str, &str); 9] = [
    (
        "X-Request-Id",
        "The caller's own id for the request if it was 1 to 128 visible ASCII characters, else a fresh one.",
        "0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11",
    ),
    (
        "Location",
        "Where what was made or begun can be read.",
        "/api/v1/activation/status/0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11/",
    ),
    (
        "ETag",
        "The version of the body; sent back in `If-None-Match` it saves the body when nothing has changed.",
        "\"5d41402abc4b2a76b9719d911017c592\"",
    ),
    ("Retry-After", "Seconds to wait before trying again.", "1"),
    ("WWW-Authenticate", "The scheme of the credentials (RFC 9110).", "Bearer"),
    ("Idempotent-Replayed", "`true` on an answer that was given before; absent on the first.", "true"),
    ("Preference-Applied", "The wait that was kept (RFC 7240), at most 30 seconds.", "wait=30"),
    ("RateLimit", "What is left of the caller's budget and when it is full again.", "\"user\";r=99;t=1"),
    ("RateLimit-Policy", "The caller's budget: requests and seconds.", "\"user\";q=100;w=60"),
];

/// Of requests, which every operation takes: name, meaning.
const TAKEN: [(&str, &str); 2] = [
    (
        "X-Request-Id",
        "The caller's own id for this request, 1 to 128 visible ASCII characters; any other is replaced. \
         Repeated on the answer, kept with the events.",
    ),
    (
        "traceparent",
        "W3C trace context, kept with the events and passed on. Ignored when it has another form.",
    ),
];

/// Those of answers, as components.
pub(crate) fn sent() -> Map<String, Value> {
    let header = |(name, what, example): (&str, &str, &str)| {
        let schema = json!({"type": "string", "maxLength": 1024});
        (name.to_owned(), json!({"description": what, "schema": schema, "example": example}))
    };
    SENT.into_iter().map(header).collect()
}

/// Those of requests, as components.
pub(crate) fn taken() -> Map<String, Value> {
    let parameter = |(name, what): (&str, &str)| {
        let schema = json!({"type": "string"});
        let parameter = json!({"name": name, "in": "header", "description": what, "required": false,
            "schema": schema});
        (name.to_owned(), parameter)
    };
    TAKEN.into_iter().map(parameter).collect()
}
