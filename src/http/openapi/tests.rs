//! The document against the router, the table of codes, and itself.

use super::openapi_document;
use crate::http::Code;
use serde_json::Value;
use strum::VariantArray;

#[test]
fn every_code_is_told_where_it_may_appear() {
    let document = openapi_document().to_string();
    for code in Code::VARIANTS {
        let of_no_operation = *code == Code::MethodNotAllowed;
        let name = format!("`{}`", code.as_str());
        assert!(of_no_operation || document.contains(&name), "{code:?} is told nowhere");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    for document in [openapi_document(), super::asyncapi::document()] {
        let mut all = Vec::new();
        references(&document, &mut all);
        assert!(all.len() > 50, "{all:?}");
        for place in all {
            assert!(document.pointer(place.trim_start_matches('#')).is_some(), "{place}");
        }
    }
}

fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("$ref").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn every_example_fits_its_schema() {
    let document = openapi_document();
    let mut found = Vec::new();
    examples(&document, String::new(), &mut found);
    assert!(found.len() > 100, "{}", found.len());
    for place in found {
        let shown = document.pointer(&place).expect("found there");
        let below = if shown.get("schema").is_some() { "/schema" } else { "" };
        let mut schema = document.clone();
        let fragment = place.replace('{', "%7B").replace('}', "%7D").replace(' ', "%20");
        schema["$ref"] = format!("#{fragment}{below}").into();
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).expect("a schema");
        let wrong: Vec<_> = validator.iter_errors(&shown["example"]).map(|error| error.to_string()).collect();
        assert!(wrong.is_empty(), "{place}: {}: {wrong:?}", shown["example"]);
    }
}

/// The places of all schemas, parameters, headers and media types that have an example.
fn examples(value: &Value, place: String, found: &mut Vec<String>) {
    let Some(members) = value.as_object() else { return };
    let is_shown = ["type", "oneOf", "$ref", "schema"].iter().any(|name| members.contains_key(*name));
    if is_shown && members.contains_key("example") {
        found.push(place.clone());
    }
    for (name, member) in members.iter().filter(|(name, _)| *name != "example") {
        examples(member, format!("{place}/{}", name.replace('~', "~0").replace('/', "~1")), found);
    }
}
