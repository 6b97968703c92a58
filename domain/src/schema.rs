//! What the payload of each event is, as JSON Schemas, for those who read the log from outside.
//!
//! They come from the types themselves, closed: a member more or less is another event. They describe
//! what is written. Reading is more tolerant: the types ignore members that they do not know.

use crate::account::{self, Account};
use crate::offer::{self, Offer};
use crate::transaction::{self, Transaction};
use crate::user_offer::{self, UserOffer};
use crate::{Money, Timestamp, current_version};
use cqrs_es::Aggregate;
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::Value;
use std::borrow::Cow;

/// The schema of one event's payload.
pub struct EventSchema {
    /// As in the record line: `Transaction`.
    pub aggregate_type: &'static str,
    /// As in the record line: `Succeeded`.
    pub event_type: String,
    /// As in the record line: `1.0`.
    pub event_version: &'static str,
    /// JSON Schema 2020-12, which refers to nothing outside itself.
    pub schema: Value,
}

/// Every event there is.
#[must_use]
pub fn events() -> Vec<EventSchema> {
    [
        of::<transaction::Event>(Transaction::TYPE),
        of::<user_offer::Event>(UserOffer::TYPE),
        of::<offer::Event>(Offer::TYPE),
        of::<account::Event>(Account::TYPE),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The variants of `E`, which is one object for each, told apart by `type`.
fn of<E: JsonSchema>(aggregate_type: &'static str) -> Vec<EventSchema> {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let all = settings.into_generator().into_root_schema_for::<E>().to_value();
    let variants = all["oneOf"].as_array().cloned().unwrap_or_default();
    let one = |mut schema: Value| {
        let event_type = schema["properties"]["type"]["const"].as_str().unwrap_or_default().to_owned();
        schema["additionalProperties"] = false.into();
        without_null(&mut schema);
        let event_version = current_version(&event_type);
        EventSchema { aggregate_type, event_type, event_version, schema }
    };
    variants.into_iter().map(one).collect()
}

/// An absent value is left out of a payload, never written as null: `["string", "null"]` becomes `"string"`.
fn without_null(schema: &mut Value) {
    let Some(members) = schema["properties"].as_object_mut() else { return };
    for member in members.values_mut() {
        let Some(types) = member.get_mut("type").and_then(Value::as_array_mut) else { continue };
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            member["type"] = only.clone();
        }
    }
}

impl JsonSchema for Money {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Money".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "pattern": r"^(0|[1-9][0-9]{0,15})\.[0-9]{2}$"})
    }
}

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$",
        })
    }
}

#[cfg(test)]
mod tests;
