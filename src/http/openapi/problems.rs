//! Refusals as the document tells them: by status, with the codes that it may carry here.

use super::api::values::{boolean, integer, text};
use super::headers::{self, ALLOW, RATE_LIMIT, RATE_LIMIT_POLICY, REQUEST_ID, RETRY_AFTER, WWW_AUTHENTICATE};
use crate::http::Code;
use axum::http::StatusCode;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use strum::VariantArray;
use utoipa::openapi::example::{Example, ExampleBuilder};
use utoipa::openapi::response::{Response, ResponseBuilder};
use utoipa::openapi::schema::{AllOfBuilder, ObjectBuilder, Schema, Type};
use utoipa::openapi::{Content, ContentBuilder, Ref, RefOr};

/// The media type of RFC 9457.
const PROBLEM_JSON: &str = "application/problem+json";

/// Refusals that many operations have in common, told once.
const SHARED: [(&str, &[Code]); 9] = [
    ("NotAuthenticated", &[Code::NotAuthenticated, Code::TokenInvalid, Code::TokenExpired]),
    ("Forbidden", &[Code::Forbidden]),
    ("NotFound", &[Code::NotFound]),
    ("MethodNotAllowed", &[Code::MethodNotAllowed]),
    ("BodyTooLarge", &[Code::BodyTooLarge]),
    ("UnsupportedMediaType", &[Code::UnsupportedMediaType]),
    ("RateLimited", &[Code::RateLimited]),
    ("InternalError", &[Code::InternalError]),
    ("Unavailable", &[Code::Unavailable, Code::Overloaded, Code::Timeout]),
];

/// The shared refusals by their names.
pub(crate) fn shared() -> impl Iterator<Item = (&'static str, Response)> {
    SHARED.into_iter().map(|(name, codes)| (name, response(codes)))
}

/// `codes` by status: shared refusals where they are the same, else one of their own, with the members
/// that an operation tells beside.
pub(crate) fn by_status(codes: &[Code], beside: &[(Code, Value)]) -> Vec<(String, RefOr<Response>)> {
    let mut statuses: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes {
        statuses.entry(code.status().as_u16()).or_default().push(*code);
    }
    let refusal = |(status, codes): (u16, Vec<Code>)| {
        let same = |shared: &&(&str, &[Code])| {
            shared.1.len() == codes.len() && codes.iter().all(|code| shared.1.contains(code))
        };
        let members = beside.iter().find(|(code, _)| codes.contains(code)).map(|(_, members)| members);
        let refusal = match (members, SHARED.iter().find(same)) {
            (Some(members), _) => RefOr::T(response_with(&codes, members)),
            (None, Some((name, _))) => RefOr::Ref(Ref::from_response_name(*name)),
            (None, None) => RefOr::T(response(&codes)),
        };
        (status.to_string(), refusal)
    };
    statuses.into_iter().map(refusal).collect()
}

/// An example of every problem there is, by name.
pub(crate) fn examples() -> impl Iterator<Item = (String, Example)> {
    Code::VARIANTS.iter().map(|&code| {
        let example = ExampleBuilder::new().summary(code.title()).value(Some(example(code)));
        (example_name(code), example.build())
    })
}

/// One answer for `codes`, all of one status.
fn response(codes: &[Code]) -> Response {
    let examples = codes.iter().map(|code| {
        let place = format!("#/components/examples/{}", example_name(*code));
        (code.as_str(), RefOr::<Example>::Ref(Ref::new(place)))
    });
    answer(codes, ContentBuilder::new().schema(Some(schema(codes))).examples_from_iter(examples).build())
}

/// The same with `members` beside, which serve as an example too.
fn response_with(codes: &[Code], members: &Value) -> Response {
    let (mut beside, mut shown) = (ObjectBuilder::new(), example(codes[0]));
    for (name, value) in members.as_object().into_iter().flatten() {
        beside = beside.property(name, member(value)).required(name);
        shown[name] = value.clone();
    }
    let schema = schema(codes).item(beside);
    answer(codes, ContentBuilder::new().schema(Some(schema)).example(Some(shown)).build())
}

/// What `value` is an example of.
fn member(value: &Value) -> Schema {
    match value {
        Value::Bool(_) => boolean().into(),
        Value::Object(members) => {
            let object = members.iter().fold(ObjectBuilder::new(), |object, (name, value)| {
                object.property(name, member(value)).required(name)
            });
            object.into()
        }
        _ => text(0, 1024).into(),
    }
}

fn answer(codes: &[Code], content: Content) -> Response {
    let status = codes[0].status();
    let names = codes.iter().map(|code| format!("`{}`", code.as_str())).collect::<Vec<_>>().join(", ");
    let title = status.canonical_reason().unwrap_or_default();
    let mut response = ResponseBuilder::new().description(format!("{title}: {names}"));
    for header in [REQUEST_ID].iter().chain(headers_of(status)) {
        response = response.header_ref(*header, headers::reference(header));
    }
    response.content(PROBLEM_JSON, content).build()
}

/// A problem with the status that `codes` have and one of them.
fn schema(codes: &[Code]) -> AllOfBuilder {
    let names = codes.iter().map(|code| code.as_str());
    let own = ObjectBuilder::new()
        .property("status", integer(400, 599).enum_values(Some([codes[0].status().as_u16()])))
        .property("code", ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)));
    AllOfBuilder::new().item(Ref::from_schema_name("Problem")).item(own)
}

/// What a refusal with `status` carries beside the request's id.
fn headers_of(status: StatusCode) -> &'static [&'static str] {
    match status {
        StatusCode::UNAUTHORIZED => &[WWW_AUTHENTICATE],
        StatusCode::METHOD_NOT_ALLOWED => &[ALLOW],
        StatusCode::TOO_MANY_REQUESTS => &[RETRY_AFTER, RATE_LIMIT, RATE_LIMIT_POLICY],
        StatusCode::SERVICE_UNAVAILABLE => &[RETRY_AFTER],
        _ => &[],
    }
}

/// Codes of the same name may have two statuses.
fn example_name(code: Code) -> String {
    format!("{}_{}", code.status().as_u16(), code.as_str())
}

fn example(code: Code) -> Value {
    let mut example = json!({
        "type": format!("urn:offers:problem:{}", code.as_str()),
        "title": code.title(),
        "status": code.status().as_u16(),
        "detail": code.title(),
        "instance": "/api/v1/activation/",
        "code": code.as_str(),
        "request_id": "0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11",
        "error": code.title(),
    });
    if code == Code::InvalidRequest {
        example["errors"] = json!([{"field": "offer_id", "message": "must be a UUID"}]);
    }
    example
}
