//! Examples of whole bodies, put together of their members' examples.

use serde_json::{Map, Value, json};

/// How deep schemas may lie in each other.
const MAX_DEPTH: usize = 12;

/// `document` with an example beside every schema of a body that has none.
pub(crate) fn filled_in(document: Value) -> Value {
    let mut filled = document.clone();
    visit(&mut filled, &document);
    filled
}

/// A media type is an object that has a `schema` and no `in` (that would be a parameter).
fn visit(value: &mut Value, document: &Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                match name.as_str() {
                    "content" => each_content(member, document),
                    _ => visit(member, document),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| visit(item, document)),
        _ => {}
    }
}

fn each_content(contents: &mut Value, document: &Value) {
    let Value::Object(contents) = contents else { return };
    for content in contents.values_mut() {
        let has_one = content.get("example").is_some() || content.get("examples").is_some();
        if let Some(schema) = content.get("schema").filter(|_| !has_one).cloned() {
            content["example"] = example(&schema, document, MAX_DEPTH);
        }
    }
}

/// What `schema` looks like: its own example, or one made of its parts.
fn example(schema: &Value, document: &Value, depth: usize) -> Value {
    if depth == 0 {
        return Value::Null;
    }
    let below = |schema: &Value| example(schema, document, depth - 1);
    if let Some(own) = schema.get("example").or(schema["examples"].get(0)) {
        return own.clone();
    }
    if let Some(place) = schema["$ref"].as_str().and_then(|place| place.strip_prefix('#')) {
        return document.pointer(place).map_or(Value::Null, below);
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        let not_null = choices.iter().find(|choice| choice["type"] != "null");
        return not_null.map_or(Value::Null, below);
    }
    if let Some(members) = schema["properties"].as_object() {
        return members
            .iter()
            .map(|(name, member)| (name.clone(), below(member)))
            .collect::<Map<_, _>>()
            .into();
    }
    match schema["type"].as_str() {
        Some("array") => json!([below(&schema["items"])]),
        Some("boolean") => json!(true),
        Some("object") => json!({}),
        _ => Value::Null,
    }
}
