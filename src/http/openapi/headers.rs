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

/// Those of answers, as components.
pub(crate) fn sent() -> Map<String, Value> {
    let header = |(name, what, example): (&str, &str, &str)| {
        let schema = json!({"type": "string", "maxLength": 1024});
        (name.to_owned(), json!({"description": what, "schema": schema, "example": example}))
    };
    SENT.into_iter().map(header).collect()
}
