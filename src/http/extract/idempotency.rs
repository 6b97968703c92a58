//! The `Idempotency-Key` header (IETF draft `httpapi-idempotency-key-header`): what a client repeats
//! so that a POST that moves money happens once.

use crate::http::headers::IDEMPOTENCY_KEY;
use crate::http::problem::Problem;
use crate::http::problem::code::Code;
use axum::extract::OptionalFromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;
use domain::ids::IdempotencyKey;
use utoipa::IntoParams;
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

/// The longest key, in bytes.
const MAX_KEY: usize = 255;

/// The key of a request, unquoted: `"k"` and `k` are the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdempotencyKeyHeader(String);

impl From<IdempotencyKeyHeader> for IdempotencyKey {
    fn from(key: IdempotencyKeyHeader) -> Self {
        Self::Header(key.0)
    }
}

impl IntoParams for IdempotencyKeyHeader {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        let what = "Repeats are recognised by it: the same caller, key and request get the original answer. \
                    1 to 255 visible ASCII characters, quoted or bare.";
        let schema = ObjectBuilder::new()
            .schema_type(Type::String)
            .pattern(Some(r#"^([!#-~][!-~]{0,254}|"([!#-\[\]-~]|\\["\\]){1,255}")$"#));
        let header = ParameterBuilder::new().name("Idempotency-Key").parameter_in(ParameterIn::Header);
        let header = header.description(Some(what)).schema(Some(Schema::from(schema)));
        vec![header.build()]
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for IdempotencyKeyHeader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Problem> {
        read(&parts.headers)
    }
}

/// The key of a request, if it has one.
///
/// # Errors
/// `invalid_idempotency_key`.
pub(crate) fn read(headers: &HeaderMap) -> Result<Option<IdempotencyKeyHeader>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().ok().and_then(parse).map(Some).ok_or_else(malformed),
        (Some(_), Some(_)) => Err(malformed()),
    }
}

fn parse(text: &str) -> Option<IdempotencyKeyHeader> {
    let key = if text.starts_with('"') { unquote(text)? } else { text.to_owned() };
    let fit = (1..=MAX_KEY).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
    fit.then_some(IdempotencyKeyHeader(key))
}

/// What a structured-field string (RFC 9651) says: `\"` and `\\` are its only escapes.
pub(crate) fn unquote(text: &str) -> Option<String> {
    let mut inside = text.strip_prefix('"')?.strip_suffix('"')?.chars();
    let mut plain = String::with_capacity(text.len());
    while let Some(next) = inside.next() {
        match next {
            '\\' => plain.push(inside.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            '"' => return None,
            other => plain.push(other),
        }
    }
    Some(plain)
}

fn malformed() -> Problem {
    Problem::new(
        Code::InvalidIdempotencyKey,
        "Idempotency-Key is one value of 1 to 255 visible ASCII characters",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Option<String> {
        parse(text).map(|key| key.0)
    }

    #[test]
    fn a_key_is_the_same_quoted_and_bare() {
        for text in ["k-1", "\"k-1\""] {
            assert_eq!(key(text).as_deref(), Some("k-1"), "{text}");
        }
        assert_eq!(key(r#""a\"b\\c""#).as_deref(), Some(r#"a"b\c"#));
        assert_eq!(key(&"x".repeat(255)).map(|key| key.len()), Some(255));
        assert_eq!(key(&format!("\"{}\"", "x".repeat(255))).map(|key| key.len()), Some(255));
    }

    #[test]
    fn anything_else_is_no_key() {
        let long = "x".repeat(256);
        for text in ["", "\"\"", "\"", "\"a", r#""a"b""#, r#""a\b""#, r#""a\""#, "a b", "\"a b\"", &long] {
            assert_eq!(key(text), None, "{text:?}");
        }
    }
}
