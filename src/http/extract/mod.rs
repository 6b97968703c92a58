//! What a handler takes out of a request: who calls, the path, the query, the body, the idempotency key.

pub(crate) mod body;
pub(crate) mod caller;
pub(crate) mod fields;
pub(crate) mod idempotency;
pub(crate) mod known;
pub(crate) mod page;
pub(crate) mod path;
pub(crate) mod preferences;
pub(crate) mod query;
pub(crate) mod request;
pub(crate) mod rules;
pub(crate) mod values;
