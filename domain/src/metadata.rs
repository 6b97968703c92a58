//! What is known about an event in addition to its payload: the actor, the reason, the trace.

use serde::{Deserialize, Deserializer, Serialize};
use uuid::Uuid;

/// An object of strings. Free text that people wrote lives here and never in a payload, because
/// analysts see payloads and never metadata.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The request, the command or the run that began the chain: our own id, never a client's text.
    /// Nil in old events that have none, or had the client's `X-Request-Id`.
    #[serde(default, deserialize_with = "uuid_or_nil")]
    pub correlation_id: Uuid,
    /// The id of the event that this one answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub causation_id: Option<String>,
    /// `user:<id>`, `partner:<id>` or `system:<name>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// W3C trace context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What the client sent, parsed and rendered in one form: a repeat is compared with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// Why a person did it, in that person's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// A person's own reference of a credit or debit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Where this transaction's callback goes instead of the registered URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub callback_url: Option<String>,
}

impl Metadata {
    /// Metadata that says nothing but where the chain began.
    #[must_use]
    pub fn new(correlation_id: Uuid) -> Self {
        Self {
            correlation_id,
            causation_id: None,
            actor: None,
            traceparent: None,
            request: None,
            reason: None,
            reference: None,
            callback_url: None,
        }
    }

    /// Metadata of something that `name` (a part of this system) does.
    #[must_use]
    pub fn system(name: &str, correlation_id: Uuid) -> Self {
        Self { actor: Some(format!("system:{name}")), ..Self::new(correlation_id) }
    }
}

fn uuid_or_nil<'de, D: Deserializer<'de>>(value: D) -> Result<Uuid, D::Error> {
    let text = Option::<String>::deserialize(value)?;
    Ok(text.and_then(|text| Uuid::try_parse(&text).ok()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn correlation_id_in(json: &str) -> Uuid {
        serde_json::from_str::<Metadata>(json).expect("metadata").correlation_id
    }

    #[test]
    fn an_old_event_without_a_correlation_id_of_ours_is_readable() {
        assert_eq!(correlation_id_in("{}"), Uuid::nil());
        assert_eq!(correlation_id_in(r#"{"correlation_id":"alice@private.example"}"#), Uuid::nil());
        let ours = Uuid::from_u128(7);
        assert_eq!(correlation_id_in(&format!(r#"{{"correlation_id":"{ours}"}}"#)), ours);
    }
}
