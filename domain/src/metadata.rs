//! What is known about an event in addition to its payload: the actor, the reason, the trace.

use serde::{Deserialize, Serialize};

/// An object of strings. Free text that people wrote lives here and never in a payload, because
/// analysts see payloads and never metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// The request that began the chain (its `X-Request-Id`), or the transaction it drives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
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
    /// Metadata of something that `name` (a part of this system) does.
    #[must_use]
    pub fn system(name: &str) -> Self {
        Self { actor: Some(format!("system:{name}")), ..Self::default() }
    }
}
