//! Every answer that a test gets over HTTP against the OpenAPI document: its status, its media type, its
//! body. So whatever a test provokes is either in the document or found here.

use super::service::Reply;
use jsonschema::Validator;
use reqwest::Method;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

static DOCUMENT: LazyLock<Value> = LazyLock::new(offers::http::openapi_document);

/// Panics unless the document tells `reply` as an answer to `method` on `path` (without the query).
pub fn check(method: &Method, path: &str, reply: &Reply) {
    if matches!(*method, Method::HEAD | Method::OPTIONS) || path.starts_with("/docs/") {
        return; // GET without its body, what browsers ask of themselves, files of the pages
    }
    let Some((template, item)) = find(path) else {
        return assert_eq!(reply.status, 404, "{path} is not in the document: {reply:?}");
    };
    let name = method.as_str().to_lowercase();
    if item.get(&name).is_none() {
        return assert_eq!(reply.status, 405, "{method} {path} is not in the document: {reply:?}");
    }
    let status = reply.status.as_u16().to_string();
    let place = format!("/paths/{}/{name}/responses/{status}", escaped(template));
    let response = DOCUMENT.pointer(&place);
    let response =
        response.unwrap_or_else(|| panic!("{method} {template} does not document {status}: {reply:?}"));
    let place = response["$ref"].as_str().map_or(place, |shared| shared.trim_start_matches('#').to_owned());
    check_body(&place, reply);
    if media_type_is_problem(reply) {
        let code = format!("`{}`", reply.json()["code"].as_str().unwrap());
        let description =
            DOCUMENT.pointer(&place).and_then(|response| response["description"].as_str()).unwrap();
        assert!(description.contains(&code), "{method} {template} does not document {code}: {reply:?}");
    }
}

fn media_type_is_problem(reply: &Reply) -> bool {
    reply.headers.get("content-type").is_some_and(|is| is == "application/problem+json")
}

fn check_body(place: &str, reply: &Reply) {
    let response = DOCUMENT.pointer(place).unwrap_or_else(|| panic!("{place} leads nowhere"));
    let Some(contents) = response["content"].as_object() else {
        return assert_eq!(reply.text, "", "{place} documents no body: {reply:?}");
    };
    let media_type = reply.headers["content-type"].to_str().unwrap();
    assert!(contents.contains_key(media_type), "{place} does not document {media_type}: {reply:?}");
    if media_type == "application/json" || media_type.ends_with("+json") {
        let validator = validator(format!("#{place}/content/{}/schema", escaped(media_type)));
        let body = reply.json();
        let wrong: Vec<_> = validator.iter_errors(&body).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{place} does not document {body}: {wrong:?}");
    }
}

/// Made once for each place: following all references takes milliseconds.
fn validator(place: String) -> Arc<Validator> {
    static MADE: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let mut made = MADE.lock().unwrap();
    let make = |place: &String| {
        let mut schema = DOCUMENT.clone();
        let fragment = place.replace('{', "%7B").replace('}', "%7D").replace(' ', "%20");
        schema["$ref"] = fragment.into();
        Arc::new(jsonschema::options().should_validate_formats(true).build(&schema).unwrap())
    };
    made.entry(place).or_insert_with_key(make).clone()
}

/// The path of the document that `path` is one of; a name that is written out goes before a parameter.
fn find(path: &str) -> Option<(&'static str, &'static Value)> {
    let fits = |template: &str| {
        let (actual, expected) = (segments(path), segments(template));
        actual.len() == expected.len()
            && actual.iter().zip(&expected).all(|(part, pattern)| part == pattern || pattern.starts_with('{'))
    };
    let paths = DOCUMENT["paths"].as_object().unwrap();
    let fitting = paths.iter().filter(|(template, _)| fits(template));
    let chosen = fitting.min_by_key(|(template, _)| template.matches('{').count())?;
    Some((chosen.0.as_str(), chosen.1))
}

fn segments(path: &str) -> Vec<&str> {
    path.trim_end_matches('/').split('/').collect()
}

/// As a part of a JSON pointer.
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
