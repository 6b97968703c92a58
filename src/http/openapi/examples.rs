//! Ids and logins of demo data as the examples of the document, so that the first "Try it out" works. `./dev` gives them;
//! the document of another service has none.

use serde_json::{Map, Value};

/// Where the logins stand in the document.
const LOGINS: &str = "x-demo-logins";
/// The resources whose `{id}` has an example: the part of the path before it, and the example's name.
const IDS: [(&str, &str); 4] =
    [("offers", "offer_id"), ("users", "user_id"), ("accounts", "user_id"), ("partners", "partner_id")];

/// `examples` has a value for each name, such as `offer_id`, and the list `logins`.
pub(super) fn put_into(document: &mut Value, examples: &Value) {
    if examples["logins"].is_array() {
        document[LOGINS] = examples["logins"].clone();
    }
    let schemas = document["components"]["schemas"].clone();
    for (path, item) in document["paths"].as_object_mut().into_iter().flatten() {
        let of_path = id_of(path).and_then(|name| examples.get(name));
        for (_, operation) in item.as_object_mut().into_iter().flatten() {
            for parameter in operation["parameters"].as_array_mut().into_iter().flatten() {
                let is_id =
                    parameter["in"] == "path" && ["id", "owner_id"].iter().any(|id| parameter["name"] == *id);
                if let Some(example) = of_path.filter(|_| is_id) {
                    parameter["example"] = example.clone();
                }
            }
            if let Some(body) = operation.pointer_mut("/requestBody/content/application~1json")
                && let Some(example) = body_example(&body["schema"], &schemas, examples)
            {
                body["example"] = example;
            }
        }
    }
}

fn id_of(path: &str) -> Option<&'static str> {
    let (resource, _) = path.split_once("/{")?;
    let resource = resource.rsplit('/').next()?;
    IDS.iter().find(|(name, _)| *name == resource).map(|(_, id)| *id)
}

/// A body with what it needs, if that names any demo data.
fn body_example(schema: &Value, schemas: &Value, examples: &Value) -> Option<Value> {
    let schema = followed(schema, schemas);
    let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut body = Map::new();
    let mut has_demo_data = false;
    for (name, property) in schema["properties"].as_object()? {
        let demo = examples.get(name);
        has_demo_data |= demo.is_some();
        if let Some(example) = demo {
            body.insert(name.clone(), example.clone());
        } else if required.iter().any(|needed| needed == name) {
            let example = property.get("example").or_else(|| followed(property, schemas).get("example"))?;
            body.insert(name.clone(), example.clone());
        }
    }
    has_demo_data.then_some(Value::Object(body))
}

/// The schema that a reference names.
fn followed<'a>(schema: &'a Value, schemas: &'a Value) -> &'a Value {
    let name = schema["$ref"].as_str().and_then(|place| place.rsplit('/').next());
    name.and_then(|name| schemas.get(name)).unwrap_or(schema)
}
