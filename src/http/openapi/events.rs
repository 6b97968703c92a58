//! The events by the names under which they are published, with their schemas.

use domain::schema::{self, EventSchema};
use serde_json::{Value, json};
use std::sync::LazyLock;

pub(crate) static ALL: LazyLock<Vec<Published>> =
    LazyLock::new(|| schema::events().into_iter().map(Published::of).collect());

/// An event as others see it.
pub(crate) struct Published {
    /// `transaction.succeeded`
    pub(crate) name: String,
    /// `1.0`
    version: &'static str,
    /// What its `data` is.
    pub(crate) schema: Value,
}

impl Published {
    fn of(event: EventSchema) -> Self {
        let name = domain::dotted(event.aggregate_type, &event.event_type);
        Self { name, version: event.event_version, schema: event.schema }
    }

    /// As `dataschema` says.
    pub(crate) fn schema_path(&self) -> String {
        format!("/schemas/{}/{}.json", self.name, self.version)
    }

    /// As `type` says.
    pub(crate) fn cloud_event_type(&self) -> String {
        let major = self.version.split('.').next().unwrap_or(self.version);
        format!("offers.{}.v{major}", self.name)
    }

    /// Its schema as a document of its own.
    pub(crate) fn document(&self) -> Value {
        let mut document = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "$id": self.schema_path(),
            "title": self.cloud_event_type(),
        });
        for (name, value) in self.schema.as_object().into_iter().flatten() {
            document[name] = value.clone();
        }
        document
    }
}
