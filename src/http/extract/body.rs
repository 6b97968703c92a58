//! Reads a request's body: bounded bytes, then one JSON object whose members stay raw text, so that
//! each is judged as the client wrote it.

use super::fields::{Fields, Member};
use super::known::is_strict_route;
use crate::http::middleware::limits::UnfinishedBodies;
use crate::http::problem::Problem;
use crate::http::problem::code::Code;
use axum::body::{Body, HttpBody as _};
use axum::extract::{FromRequest, OptionalFromRequest, Request};
use axum::http::{HeaderMap, HeaderValue, header};
use futures::StreamExt;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::time::Duration;

/// The largest body that is read, in bytes.
pub(crate) const MAX_BODY: usize = 64 * 1024;
/// How long a client may take to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// The deepest nesting of objects and arrays.
const MAX_DEPTH: usize = 32;

impl<S: Send + Sync> FromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let strict = is_strict_route(request.extensions());
        parse(&read(request).await?).map(|members| Fields::new(members, strict))
    }
}

/// For requests that need to say nothing: no body is `None`.
impl<S: Send + Sync> OptionalFromRequest<S> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Option<Self>, Problem> {
        let strict = is_strict_route(request.extensions());
        let bytes = read(request).await?;
        if bytes.is_empty() {
            return Ok(None);
        }
        parse(&bytes).map(|members| Some(Fields::new(members, strict)))
    }
}

async fn read(request: Request) -> Result<Vec<u8>, Problem> {
    let (parts, body) = request.into_parts();
    let announced = body.size_hint().lower();
    if announced > 0 {
        judge(&parts.headers, announced)?; // without reading it: see `unread`
    }
    let bodies = parts.extensions.get::<UnfinishedBodies>().expect("every route has the common layers");
    let bytes = match tokio::time::timeout(BODY_TIMEOUT, read_to_end(body, bodies)).await {
        Ok(read) => read?,
        Err(_) => {
            return Err(Problem::new(Code::RequestTimeout, "The body did not arrive within 10 seconds"));
        }
    };
    if announced == 0 && !bytes.is_empty() {
        judge(&parts.headers, bytes.len() as u64)?;
    }
    Ok(bytes)
}

/// Refuses a body of `length` bytes, or more, for what its headers say.
fn judge(headers: &HeaderMap, length: u64) -> Result<(), Problem> {
    if headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let detail = "The body must not be compressed: send it without Content-Encoding";
        let problem = Problem::new(Code::UnsupportedMediaType, detail);
        return Err(problem.header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")));
    }
    if !says_json(headers) {
        return Err(Problem::new(Code::UnsupportedMediaType, "The body must be application/json"));
    }
    if length > MAX_BODY as u64 { Err(too_large()) } else { Ok(()) }
}

/// The whole body, if it is not too large.
async fn read_to_end(body: Body, bodies: &UnfinishedBodies) -> Result<Vec<u8>, Problem> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(MAX_BODY);
    let mut bytes = Vec::with_capacity(announced.min(MAX_BODY)); // growing would hold it twice
    let mut chunks = body.into_data_stream();
    let mut unfinished = bodies.begin();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| not_json("The body ended early"))?;
        if bytes.len() + chunk.len() > MAX_BODY {
            return Err(too_large());
        }
        unfinished.grow(chunk.len())?;
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_large() -> Problem {
    Problem::new(Code::BodyTooLarge, "The body is over 64 KiB")
}

/// `application/json` or `…+json`. A body without a type is refused like one of another type.
fn says_json(headers: &HeaderMap) -> bool {
    let Some(Ok(text)) = headers.get(header::CONTENT_TYPE).map(|value| value.to_str()) else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn parse(bytes: &[u8]) -> Result<Vec<Member>, Problem> {
    let text = std::str::from_utf8(bytes).map_err(|_| not_json("The body is not UTF-8"))?;
    if depth(text) > MAX_DEPTH {
        return Err(not_json("The body is nested too deeply"));
    }
    serde_json::from_str::<Members>(text)
        .map(|members| members.0)
        .map_err(|_| not_json("The body is not one JSON object"))
}

fn not_json(detail: &'static str) -> Problem {
    Problem::new(Code::InvalidJson, detail)
}

/// The deepest nesting, by counting brackets outside strings; only meaningful for what is JSON.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A JSON object with its members in order, doubled ones included.
struct Members(Vec<Member>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Box<RawValue>>()? {
                    members.push(Member { name, value });
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn code(bytes: &[u8]) -> Option<Code> {
        parse(bytes).err().map(|problem| problem.code())
    }

    #[test]
    fn what_is_not_one_json_object_is_invalid_json() {
        let bodies: [&[u8]; 12] = [
            b"",
            b" ",
            b"{",
            b"[]",
            b"null",
            b"1",
            b"\"a\"",
            b"{}{}",
            b"{\"a\":01}",
            b"{\"a\":NaN}",
            b"{'a':1}",
            b"\xff{}",
        ];
        for body in bodies {
            assert_eq!(code(body), Some(Code::InvalidJson), "{:?}", String::from_utf8_lossy(body));
        }
        assert_eq!(code(b"{\"a\":\"\x01\"}"), Some(Code::InvalidJson), "a raw control character");
        assert_eq!(code(b"{}"), None);
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(code(nested(MAX_DEPTH - 1).as_bytes()), None);
        assert_eq!(code(nested(MAX_DEPTH).as_bytes()), Some(Code::InvalidJson));
        assert_eq!(code(nested(30_000).as_bytes()), Some(Code::InvalidJson));
        assert_eq!(
            code(format!("{{\"a\":\"{}\"}}", "[".repeat(500)).as_bytes()),
            None,
            "brackets in a string"
        );
    }

    #[test]
    fn only_json_is_json() {
        let says =
            |text| says_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(text))]));
        for text in ["application/json", "Application/JSON; charset=utf-8", "application/merge-patch+json"] {
            assert!(says(text), "{text}");
        }
        for text in
            ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx", "text/x+json"]
        {
            assert!(!says(text), "{text}");
        }
        assert!(!says_json(&HeaderMap::new()));
    }
}
