//! What every response tells browsers: guess no type, keep nothing, show this nowhere, leak no address.
//!
//! The answers are data for programs. A handler that answers with a page says so by headers of its own,
//! which are kept.

use crate::config::Protection;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use std::time::Duration;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::http::headers::{
    IDEMPOTENCY_KEY, IDEMPOTENT_REPLAYED, LAST_EVENT_ID, PREFER, PREFERENCE_APPLIED, RATE_LIMIT,
    RATE_LIMIT_POLICY, TRACEPARENT, X_REQUEST_ID,
};

/// Nothing is loaded, run, framed or sent anywhere.
const POLICY: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");
/// How long a browser may remember what it may send.
const PREFLIGHT_MAX_AGE: Duration = Duration::from_secs(600);

/// Headers that hold for every response, unless its handler said otherwise.
pub(crate) fn protect(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(POLICY);
    headers.entry(header::REFERRER_POLICY).or_insert(HeaderValue::from_static("no-referrer"));
}

/// `Strict-Transport-Security`, where it is configured.
pub(crate) fn strict_transport(protection: &Protection) -> Option<HeaderValue> {
    let text = format!("max-age={}", protection.hsts?.as_secs());
    Some(HeaderValue::try_from(text).expect("a number is ASCII"))
}

/// What scripts of the configured web pages may do; `None` when no page is.
pub(crate) fn cors(protection: &Protection) -> Option<CorsLayer> {
    let origins = protection.cors_origins.iter().map(ToString::to_string);
    let origins: Vec<HeaderValue> =
        origins.map(|origin| HeaderValue::try_from(origin).expect("an origin is ASCII")).collect();
    let sent = [header::AUTHORIZATION, header::CONTENT_TYPE, IDEMPOTENCY_KEY, PREFER];
    let also_sent = [X_REQUEST_ID, TRACEPARENT, header::IF_NONE_MATCH, LAST_EVENT_ID];
    let shown = [X_REQUEST_ID, IDEMPOTENT_REPLAYED, RATE_LIMIT, RATE_LIMIT_POLICY, header::RETRY_AFTER];
    let also_shown = [header::LOCATION, header::ETAG, header::LINK, PREFERENCE_APPLIED];
    (!origins.is_empty()).then(|| {
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(origins))
            .allow_methods([Method::GET, Method::POST, Method::PATCH, Method::DELETE])
            .allow_headers(sent.into_iter().chain(also_sent).collect::<Vec<_>>())
            .expose_headers(shown.into_iter().chain(also_shown).collect::<Vec<_>>())
            .max_age(PREFLIGHT_MAX_AGE)
    })
}
