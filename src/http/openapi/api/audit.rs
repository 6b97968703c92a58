//! `/audit`

use super::values::{Id, Money, Position, Time, integer, line};
use crate::http::Code;
use crate::http::openapi::operation::{Caller, Operation, get};
use crate::http::openapi::schemas::With;
use std::collections::BTreeMap;
use utoipa::ToSchema;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};

/// A record as it is exported.
const LINE: &str = concat!(
    r#"{"position":2,"event_id":"0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11","aggregate_type":"Transaction","#,
    r#""aggregate_id":"0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11","sequence":2,"event_type":"Processing","#,
    r#""event_version":"1.0","recorded_at":"2026-11-22T08:30:00.123456Z","#,
    r#""payload":{"type":"Processing","attempt":1},"metadata":{"actor":"system:processor"}}"#,
    "\n"
);

fn position_or_time() -> Schema {
    let time = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    Schema::OneOf(OneOfBuilder::new().item(integer(0, i64::MAX)).item(time).build())
}

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        get("/audit/events/", "The log, in order")
            .says(
                "A page as JSON; with `Accept: application/x-ndjson` a stream of records from `after` to the \
                 head, one a line, without `leaf_hash`: each line without its newline is what the Merkle tree \
                 hashes.",
            )
            .by(Caller::Auditor)
            .query("after", "The position before the first that is wanted.", integer(0, i64::MAX))
            .query("aggregate_type", "Only those of such aggregates.", line(0, 200))
            .query_of::<Id>("aggregate_id", "Only those of this aggregate.")
            .query("event_type", "Only those of this type.", line(0, 200))
            .lists::<With<Record, LeafHash>>("Events.")
            .answers_text("application/x-ndjson", 200, "Events.", LINE),
        get("/audit/accounts/{owner_id}/balance/", "What somebody had")
            .says(
                "Folded from the events up to `at`, that one included; without `at` from all. Beyond the end \
                 of the log it is as of the end.",
            )
            .by(Caller::Auditor)
            .id("owner_id", "The user or partner.")
            .query("at", "A position, or a time in RFC 3339.", position_or_time())
            .answers::<BalanceThen>(200, "The balance as of then.")
            .refuses(&[Code::AccountNotFound]),
        get("/audit/transactions/{id}/", "What happened to a purchase")
            .says("Its events and those of the subscription that it began or extended, in log order.")
            .by(Caller::Auditor)
            .id("id", "The transaction.")
            .answers::<TransactionRecords>(200, "Records in log order.")
            .refuses(&[Code::TransactionNotFound]),
    ]
}

/// A transaction's events.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct TransactionRecords {
    transaction_id: Id,
    #[schema(min_items = 1)]
    events: Vec<Record>,
}

/// One event as the log keeps it.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Record {
    position: Position,
    event_id: Id,
    aggregate_type: AggregateType,
    aggregate_id: Id,
    /// Of the event in its aggregate, from 1.
    #[schema(minimum = 1, example = 1)]
    sequence: u64,
    #[schema(example = "Processing")]
    event_type: String,
    #[schema(example = "1.0")]
    event_version: String,
    recorded_at: Time,
    payload: Payload,
    metadata: Metadata,
}

/// One event as the log keeps it, and its leaf in the Merkle tree.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct LeafHash {
    /// SHA-256 of a zero byte and the record line, in base64.
    #[schema(pattern = "^[A-Za-z0-9+/]{43}=$", example = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")]
    leaf_hash: String,
}

/// What an owner had then.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct BalanceThen {
    balance: Money,
    /// The last event that counts; 0 before the first.
    #[schema(minimum = 0, example = 42)]
    position: u64,
    /// When that event was recorded.
    #[schema(required)]
    recorded_at: Option<Time>,
}

#[derive(ToSchema)]
enum AggregateType {
    Transaction,
    UserOffer,
    Offer,
    Account,
}

/// What happened: the event's `type` and its members, as `/schemas/<aggregate>.<event>/1.0.json` says.
#[derive(ToSchema)]
struct Payload {
    #[schema(example = "Processing")]
    r#type: String,
}

/// Who asked, within which chain, and what people wrote: strings only.
#[derive(ToSchema)]
#[schema(example = json!({"correlation_id": "0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11", "actor": "system:processor"}))]
struct Metadata(BTreeMap<String, String>);
