//! The schemas against the golden payloads: each fits its own, and nothing else does.

use super::{EventSchema, events};
use crate::golden;
use jsonschema::Validator;
use serde_json::Value;

fn validator(schema: &Value) -> Validator {
    jsonschema::options().should_validate_formats(true).build(schema).expect("a schema")
}

fn schema_of(aggregate_type: &str, event_type: &str) -> EventSchema {
    let found = events()
        .into_iter()
        .find(|known| (known.aggregate_type, known.event_type.as_str()) == (aggregate_type, event_type));
    found.unwrap_or_else(|| panic!("no schema for {aggregate_type} {event_type}"))
}

/// Every golden payload of today's version with its schema.
fn texts() -> Vec<(Value, EventSchema)> {
    let one = |golden: golden::Golden| {
        let known = schema_of(golden.aggregate_type, &golden.event_type);
        let is_current = known.event_version == golden.version;
        is_current.then(|| (serde_json::from_str(&golden.payload).expect("JSON"), known))
    };
    golden::payloads().into_iter().filter_map(one).collect()
}

#[test]
fn every_golden_payload_fits_its_schema() {
    for (payload, known) in texts() {
        let problems: Vec<_> =
            validator(&known.schema).iter_errors(&payload).map(|error| error.to_string()).collect();
        assert!(problems.is_empty(), "{payload}: {problems:?}");
    }
}

#[test]
fn a_member_more_or_less_fits_no_schema() {
    for (payload, known) in texts() {
        let validator = validator(&known.schema);
        let mut more = payload.clone();
        more["surplus"] = 1.into();
        assert!(!validator.is_valid(&more), "{more}");
        for required in known.schema["required"].as_array().expect("names") {
            let mut less = payload.clone();
            less.as_object_mut().expect("an object").remove(required.as_str().expect("a name"));
            assert!(!validator.is_valid(&less), "{less}");
        }
        for name in payload.as_object().expect("an object").keys() {
            for wrong in [Value::Null, Value::from(-1.5), Value::from("")] {
                let free_text = known.schema["properties"][name].get("pattern").is_none() && wrong == "";
                let mut other = payload.clone();
                other[name] = wrong;
                assert!(free_text || !validator.is_valid(&other), "{other}");
            }
        }
    }
}

#[test]
fn a_text_fits_the_schema_of_no_other_event() {
    let known = events();
    for (payload, own) in texts() {
        for other in known.iter().filter(|other| other.event_type != own.event_type) {
            assert!(!validator(&other.schema).is_valid(&payload), "{payload} as {}", other.event_type);
        }
    }
}

#[test]
fn no_schema_is_without_a_text() {
    let texts = texts();
    for known in events() {
        let has_text = |own: &&(Value, EventSchema)| {
            (own.1.aggregate_type, &own.1.event_type) == (known.aggregate_type, &known.event_type)
        };
        assert!(texts.iter().any(|own| has_text(&own)), "{} {}", known.aggregate_type, known.event_type);
    }
}
