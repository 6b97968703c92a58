//! What holds for every operation and is therefore said in no handler: the headers, the ids of the
//! operations, and the refusals that follow from what an operation takes.
//!
//! An operation that needs a caller may answer 401, one with a body 413, each below `/api/v1` 503. A
//! handler names only the codes of its own, by [`refusals`].

use crate::http::extract::known::is_strict;
use crate::http::{API, Code};
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Where an operation keeps its refusals until they become responses.
const REFUSALS: &str = "x-refusals";

/// Codes by their status, as an operation's extension `x-refusals`.
pub(crate) fn refusals(codes: &[Code]) -> Value {
    let mut statuses: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for code in codes {
        statuses.entry(code.status().as_u16().to_string()).or_default().push(code.as_str());
    }
    json!(statuses)
}

/// The paths of the router as the document has them: below the API they end in a slash.
pub(crate) fn apply(paths: Map<String, Value>) -> Map<String, Value> {
    let complete_item = |(path, mut item): (String, Value)| {
        for (method, operation) in item.as_object_mut().into_iter().flatten() {
            complete(&path, method, operation);
        }
        (if path.starts_with(API) { format!("{path}/") } else { path }, item)
    };
    paths.into_iter().map(complete_item).collect()
}

fn complete(path: &str, method: &str, operation: &mut Value) {
    let implied = refusals(&implied(path, method, operation));
    operation["operationId"] = operation_id(path, method).into();
    operation["tags"] = json!([tag(path)]);
    if operation["security"].is_null() {
        operation["security"] = json!([]);
    }
    let repeatable = names_parameter(operation, "Idempotency-Key");
    complete_parameters(operation);
    complete_body(operation);
    let mut sent = vec!["X-Request-Id"];
    if path != "/livez" {
        sent.extend(["RateLimit", "RateLimit-Policy"]);
    }
    if repeatable {
        sent.push("Idempotent-Replayed");
    }
    let own = operation.as_object_mut().and_then(|operation| operation.remove(REFUSALS));
    let responses = operation["responses"].as_object_mut().into_iter().flatten();
    for (_, response) in responses {
        let own: Vec<String> =
            response["headers"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect();
        response["headers"] = references(own.iter().map(String::as_str).chain(sent.iter().copied()));
    }
    let mut statuses: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for refusals in own.into_iter().chain([implied]) {
        for (status, names) in refusals.as_object().into_iter().flatten() {
            let known = statuses.entry(status.clone()).or_default();
            let new = names.as_array().into_iter().flatten().filter(|name| !known.contains(name));
            let new: Vec<_> = new.cloned().collect();
            known.extend(new);
        }
    }
    for (status, codes) in statuses {
        let answer = refusal(&status, &codes);
        operation["responses"][status] = answer;
    }
}

/// The codes that follow from where an operation lies, who may call it and what it takes.
fn implied(path: &str, method: &str, operation: &Value) -> Vec<Code> {
    let mut codes = Vec::new();
    let scopes =
        |scheme: &str| operation["security"].as_array()?.iter().find_map(|way| way.get(scheme)).cloned();
    if operation["security"].is_array() {
        codes.extend([Code::NotAuthenticated, Code::TokenInvalid, Code::TokenExpired]);
        if !(scopes("Bearer") == Some(json!([])) && scopes("ApiKey").is_some()) {
            codes.push(Code::Forbidden);
        }
    }
    let parameters: Vec<&Value> = operation["parameters"].as_array().into_iter().flatten().collect();
    if parameters.iter().any(|one| one["in"] == "path" && one["schema"]["$ref"] == "#/components/schemas/Id")
    {
        codes.push(Code::MalformedId);
    }
    if is_strict(path) || parameters.iter().any(|one| one["in"] == "query") {
        codes.push(Code::InvalidRequest);
    }
    if names_parameter(operation, "cursor") {
        codes.push(Code::InvalidCursor);
    }
    if operation["requestBody"].is_object() {
        codes.extend([
            Code::InvalidJson,
            Code::InvalidRequest,
            Code::RequestTimeout,
            Code::BodyTooLarge,
            Code::UnsupportedMediaType,
        ]);
    }
    if names_parameter(operation, "Idempotency-Key") {
        codes.extend([Code::InvalidIdempotencyKey, Code::IdempotencyKeyReused]);
    }
    if path != "/livez" {
        codes.extend([Code::RateLimited, Code::InternalError]);
        codes.extend([Code::Unavailable, Code::Overloaded, Code::Timeout]);
        if method != "get" {
            codes.push(Code::OutcomeUnknown);
        }
    }
    codes
}

/// An optional body, `Option<T>`, is one that may be missing; it is never `null`.
fn complete_body(operation: &mut Value) {
    let Some(schema) = operation.pointer_mut("/requestBody/content/application~1json/schema") else { return };
    let Some(choices) = schema["oneOf"].as_array() else { return };
    if choices.iter().any(|choice| choice["type"] == "null") {
        let body = choices.iter().find(|choice| choice["type"] != "null").cloned();
        *schema = body.unwrap_or_default();
        operation["requestBody"]["required"] = false.into();
    }
}

fn names_parameter(operation: &Value, name: &str) -> bool {
    operation["parameters"].as_array().into_iter().flatten().any(|parameter| parameter["name"] == name)
}

/// A parameter of a query may be missing, and counts as missing when it is empty. What every request may carry, an id and a
/// trace, is told once, in the description.
fn complete_parameters(operation: &mut Value) {
    if operation["parameters"].is_null() {
        operation["parameters"] = json!([]);
    }
    let Some(parameters) = operation["parameters"].as_array_mut() else { return };
    for parameter in parameters.iter_mut() {
        let place = parameter["in"].as_str().unwrap_or_default().to_owned();
        if place != "path" {
            parameter["required"] = false.into();
        }
        if place == "query" {
            parameter["allowEmptyValue"] = true.into();
        }
    }
}

/// The answer under `status` that carries one of `codes`.
fn refusal(status: &str, codes: &[Value]) -> Value {
    let names: Vec<_> = codes.iter().filter_map(Value::as_str).map(|code| format!("`{code}`")).collect();
    let status: StatusCode = status.parse().expect("refusals are by status");
    let more: &[&str] = match status {
        StatusCode::UNAUTHORIZED => &["WWW-Authenticate"],
        StatusCode::TOO_MANY_REQUESTS => &["Retry-After", "RateLimit", "RateLimit-Policy"],
        StatusCode::SERVICE_UNAVAILABLE => &["Retry-After"],
        _ => &[],
    };
    json!({
        "description": format!("{}: {}", status.canonical_reason().unwrap_or_default(), names.join(", ")),
        "headers": references(["X-Request-Id"].iter().chain(more).copied()),
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
    })
}

fn references<'a>(names: impl Iterator<Item = &'a str>) -> Value {
    let reference = |name: &str| (name.to_owned(), json!({"$ref": format!("#/components/headers/{name}")}));
    Value::Object(names.map(reference).collect())
}

/// The first part of the path below the API; other paths watch or describe the service.
fn tag(path: &str) -> &str {
    match path.strip_prefix(API) {
        Some(below) => below.trim_start_matches('/').split('/').next().unwrap_or_default(),
        None if matches!(path, "/livez" | "/readyz" | "/metrics") => "watch",
        None => "documents",
    }
}

/// `get_account_transactions_by_id`
fn operation_id(path: &str, method: &str) -> String {
    let method = if method == "patch" { "change" } else { method };
    let words = path.strip_prefix(API).unwrap_or(path).split('/').filter(|word| !word.is_empty());
    let words = words.map(|word| match word.strip_prefix('{') {
        Some(id) => format!("by_{}", id.trim_end_matches('}')),
        None => word.replace(['-', '.'], "_"),
    });
    [method.to_owned()].into_iter().chain(words).collect::<Vec<_>>().join("_")
}
