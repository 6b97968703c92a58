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
fn every_example_of_a_body_fits_its_schema() {
    let document = openapi_document();
    let mut bodies = Vec::new();
    contents(&document, String::new(), &mut bodies);
    assert!(bodies.len() > 60, "{}", bodies.len());
    for place in bodies {
        let content = document.pointer(&place).expect("found there");
        let mut schema = document.clone();
        let fragment = place.replace('{', "%7B").replace('}', "%7D").replace(' ', "%20");
        schema["$ref"] = format!("#{fragment}/schema").into();
        let validator = jsonschema::options().should_validate_formats(true).build(&schema).expect("a schema");
        let named = content["examples"].as_object().into_iter().flat_map(|examples| examples.values());
        let named = named.map(|example| {
            let shared = example["$ref"].as_str().map(|place| place.trim_start_matches('#'));
            shared.map_or(
                &example["value"],
                |place| &document.pointer(place).expect("a shared example")["value"],
            )
        });
        let examples: Vec<_> = content.get("example").into_iter().chain(named).collect();
        assert!(!examples.is_empty(), "{place}");
        for example in examples {
            let wrong: Vec<_> = validator.iter_errors(example).map(|error| error.to_string()).collect();
            assert!(wrong.is_empty(), "{place}: {example}: {wrong:?}");
        }
    }
}

/// The places of all media types that have a schema.
fn contents(value: &Value, place: String, found: &mut Vec<String>) {
    let Some(members) = value.as_object() else { return };
    for (name, member) in members {
        let place = format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"));
        if name == "content" {
            let types = member.as_object().into_iter().flat_map(|types| types.keys());
            found.extend(types.map(|name| format!("{place}/{}", name.replace('/', "~1"))));
        } else {
            contents(member, place, found);
        }
    }
}
