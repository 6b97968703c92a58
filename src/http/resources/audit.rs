//! `/audit`: history as it stands in the log.

use crate::event_log::{At, Filter};
use crate::http::context::Context;
use crate::http::extract::caller::Auditor;
use crate::http::extract::page::{Page, PageParams};
use crate::http::extract::path;
use crate::http::extract::preferences;
use crate::http::extract::query::{self, Parameters};
use crate::http::extract::values::{Expected, parse_uuid};
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::values::{Id, Money, Position, Time, With};
use crate::http::{Code, Shared};
use crate::tree::leaf_hash;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use domain::{Recorded, TransactionId};
use futures::TryStreamExt;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use std::collections::BTreeSet;
use std::sync::LazyLock;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

const NDJSON: &str = "application/x-ndjson";

/// A record as it is exported.
const LINE: &str = concat!(
    r#"{"position":2,"event_id":"0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11","aggregate_type":"Transaction","#,
    r#""aggregate_id":"0190b0c5-6f7a-7cc2-9d5e-0c2c5f3f4a11","sequence":2,"event_type":"Processing","#,
    r#""event_version":"1.0","recorded_at":"2026-11-22T08:30:00.123456Z","#,
    r#""payload":{"type":"Processing","attempt":1},"metadata":{"actor":"system:processor"}}"#,
    "\n"
);

/// A transaction's events.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransactionRecords {
    transaction_id: Id,
    #[schema(value_type = Vec<records::Record>, min_items = 1)]
    events: Vec<Box<RawValue>>,
}

/// What an owner had then.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct BalanceThen {
    balance: Money,
    /// The last event that counts; 0 before the first.
    #[schema(value_type = u64, minimum = 0, example = 42)]
    position: i64,
    /// When that event was recorded.
    #[schema(required)]
    recorded_at: Option<Time>,
}

type RecordWithLeafHashPage = Page<With<records::Record, records::LeafHash>>;

/// Records leave as the bytes that the log keeps, because these are hashed; here are only their schemas.
#[expect(dead_code, reason = "shows the bytes of the log")]
mod records {
    use super::{Id, Position, Time};
    use std::collections::BTreeMap;
    use utoipa::ToSchema;

    /// One event as the log keeps it.
    #[derive(ToSchema)]
    #[serde(deny_unknown_fields)]
    pub(super) struct Record {
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
    pub(super) struct LeafHash {
        /// SHA-256 of a zero byte and the record line, in base64.
        #[schema(pattern = "^[A-Za-z0-9+/]{43}=$", example = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")]
        leaf_hash: String,
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
}

/// A position, or a time in RFC 3339.
struct PositionOrTime;

impl PartialSchema for PositionOrTime {
    fn schema() -> RefOr<Schema> {
        let position =
            ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(i64::MAX));
        let time = ObjectBuilder::new().schema_type(Type::String);
        let time = time.format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
        OneOfBuilder::new().item(position).item(time).into()
    }
}

impl ToSchema for PositionOrTime {}

/// The name of a kind of aggregates.
struct AggregateName;

impl PartialSchema for AggregateName {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(NAMES.aggregates.clone())).into()
    }
}

impl ToSchema for AggregateName {}

/// The name of an event.
struct EventName;

impl PartialSchema for EventName {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(NAMES.events.clone())).into()
    }
}

impl ToSchema for EventName {}

/// The log, in order
///
/// A page as JSON; with `Accept: application/x-ndjson` a stream of records from `after` to the head, one a
/// line, without `leaf_hash`: each line without its newline is what the Merkle tree hashes.
#[utoipa::path(get, path = "/audit/events", security(("Bearer" = ["auditor"]), ("Bearer" = ["admin"])),
    params(
        ("after" = i64, Query, description = "The position before the first that is wanted.", minimum = 0,
            maximum = 9_223_372_036_854_775_807_i64),
        ("aggregate_type" = inline(AggregateName), Query, description = "Only those of such aggregates."),
        ("aggregate_id" = Id, Query, description = "Only those of this aggregate."),
        ("event_type" = inline(EventName), Query, description = "Only those of this type."),
        ("actor" = String, Query, description = "Only those of this actor: `user:<id>`, `partner:<id>` or `system:<name>`.",
            pattern = r"^((user|partner):[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|system:[a-z][a-z0-9_-]{0,63})$",
            example = "system:cli"),
        ("from" = inline(PositionOrTime), Query,
            description = "Only those from this position on, or recorded at this time (RFC 3339) or later."),
        ("to" = inline(PositionOrTime), Query,
            description = "Only those up to this position, this one included, or recorded before this time."),
        PageParams,
    ),
    responses((status = 200, description = "Events.", content(
        (RecordWithLeafHashPage = "application/json"),
        (String = "application/x-ndjson", example = json!(LINE)),
    ))))]
pub(crate) async fn events(
    State(app): State<Shared>,
    _auditor: Auditor,
    context: Context,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (params, asked) = PageParams::read(parameters, "events", Asked::read)?;
    let mut span = app.history.span(asked.from, asked.to).await?;
    span.after = span.after.max(params.after()?.or(asked.after).unwrap_or(0));
    let filter = asked.filter;
    if preferences::wants(NDJSON, &headers) {
        let pages = app.history.pages(filter, span).await?;
        let lines = Body::from_stream(pages.map_ok(|page| lines(&page)));
        return Ok(([(header::CONTENT_TYPE, NDJSON)], lines).into_response());
    }
    let slice = app.history.page(&filter, span, params.limit).await?;
    let page = params.page(&context, slice.map(|event| with_leaf_hash(&event)));
    Ok(Json(page).into_response())
}

/// What happened to a transaction
///
/// Its events and those of the subscription that it began or extended, in log order.
#[utoipa::path(get, path = "/audit/transactions/{id}", security(("Bearer" = ["auditor"]), ("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The transaction.")),
    responses((status = 200, description = "Records in log order.", body = TransactionRecords)),
    extensions(("x-refusals" = json!(refusals(&[Code::TransactionNotFound])))))]
pub(crate) async fn transaction(
    State(app): State<Shared>,
    _auditor: Auditor,
    path::Id(id): path::Id<TransactionId>,
) -> Result<Json<TransactionRecords>, Problem> {
    let events = app.history.of_transaction(id).await?;
    let events = events.iter().map(|event| raw(event.line())).collect();
    Ok(Json(TransactionRecords { transaction_id: id.into(), events }))
}

/// What a user or a partner had
///
/// Folded from the events up to `at`, that one included; without `at` from all. Beyond the end of the log it
/// is as of the end.
#[utoipa::path(get, path = "/audit/accounts/{owner_id}/balance",
    security(("Bearer" = ["auditor"]), ("Bearer" = ["admin"])),
    params(
        ("owner_id" = Id, Path, description = "The user or partner."),
        ("at" = inline(PositionOrTime), Query, description = "A position, or a time in RFC 3339."),
    ),
    responses((status = 200, description = "The balance as of then.", body = BalanceThen)),
    extensions(("x-refusals" = json!(refusals(&[Code::AccountNotFound])))))]
pub(crate) async fn balance(
    State(app): State<Shared>,
    _auditor: Auditor,
    path::Id(owner): path::Id<Uuid>,
    parameters: Parameters,
) -> Result<Json<BalanceThen>, Problem> {
    let at = parameters.read(|parameters| parameters.optional("at", position_or_time))?;
    let found = app.history.balance_at(owner, at).await?;
    Ok(Json(BalanceThen {
        balance: found.balance.into(),
        position: found.position,
        recorded_at: found.recorded_at.map(Into::into),
    }))
}

fn position_or_time(text: &str) -> Result<At, Expected> {
    text.parse().map_err(|expected: &str| match text.contains(' ') {
        true => "must be a position or a time; write + as %2B".to_owned(),
        false => expected.to_owned(),
    })
}

/// What the log is asked for.
struct Asked {
    after: Option<i64>,
    from: Option<At>,
    to: Option<At>,
    filter: Filter,
}

impl Asked {
    fn read(parameters: &mut Parameters) -> Self {
        Self {
            after: parameters.optional("after", query::integer(0..=i64::MAX)),
            from: parameters.optional("from", position_or_time),
            to: parameters.optional("to", position_or_time),
            filter: filter(parameters),
        }
    }
}

/// An actor as it stands in the metadata.
fn actor(text: &str) -> Result<String, Expected> {
    let known = match text.split_once(':') {
        Some((kind @ ("user" | "partner"), id)) => parse_uuid(id).map(|id| format!("{kind}:{id}")),
        Some(("system", name)) => is_name(name).then(|| text.to_owned()),
        _ => None,
    };
    known.ok_or_else(|| "must be user:<id>, partner:<id> or system:<name>".to_owned())
}

fn is_name(text: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase();
    (1..=64).contains(&text.len())
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| is_letter(byte) || byte.is_ascii_digit() || b"_-".contains(&byte))
}

/// The names that a filter may ask for.
static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let known = domain::schema::events();
    let aggregates: BTreeSet<_> = known.iter().map(|event| event.aggregate_type.to_owned()).collect();
    let events: BTreeSet<_> = known.into_iter().map(|event| event.event_type).collect();
    Names { aggregates: aggregates.into_iter().collect(), events: events.into_iter().collect() }
});

struct Names {
    aggregates: Vec<String>,
    events: Vec<String>,
}

fn filter(parameters: &mut Parameters) -> Filter {
    let id = |text: &str| match parse_uuid(text) {
        Some(id) => Ok(id.to_string()),
        None => Err("must be a UUID".to_owned()),
    };
    Filter {
        aggregate_type: parameters.optional("aggregate_type", query::one_of(&NAMES.aggregates)),
        aggregate_id: parameters.optional("aggregate_id", id),
        event_type: parameters.optional("event_type", query::one_of(&NAMES.events)),
        actor: parameters.optional("actor", actor),
    }
}

/// One record line an event. A failure midway cuts the body off, which the client notices.
fn lines(page: &[Recorded]) -> Bytes {
    let mut text = String::new();
    for event in page {
        text.push_str(&event.line());
        text.push('\n');
    }
    Bytes::from(text)
}

/// The record's ten members and the hash of its leaf in the Merkle tree.
fn with_leaf_hash(event: &Recorded) -> Box<RawValue> {
    let line = event.line();
    let members = line.strip_suffix('}').expect("a record line is an object");
    raw(format!(r#"{members},"leaf_hash":"{}"}}"#, leaf_hash(&line)))
}

fn raw(line: String) -> Box<RawValue> {
    RawValue::from_string(line).unwrap_or_else(|_| to_raw_value(&()).expect("null is JSON"))
}

#[cfg(test)]
mod tests {
    use super::actor;
    use crate::http::openapi::openapi_document;
    use proptest::prelude::*;
    use serde_json::{Value, json};
    use std::sync::LazyLock;

    static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
        let document = openapi_document();
        let parameters = document["paths"]["/api/v1/audit/events/"]["get"]["parameters"].as_array().cloned();
        let of_actor = parameters.into_iter().flatten().find(|parameter| parameter["name"] == "actor");
        of_actor.expect("it is documented")["schema"].clone()
    });

    proptest! {
        #[test]
        fn the_schema_of_an_actor_takes_exactly_what_the_filter_takes(
            text in "((user|partner|system|nobody):([0-9a-fA-F-]{34,37}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})|system:[a-zA-Z0-9_-]{0,66}|[a-z:]{0,8})"
        ) {
            let schema = jsonschema::validator_for(&SCHEMA).expect("a schema");
            prop_assert_eq!(schema.is_valid(&json!(text)), actor(&text).is_ok(), "{}", text);
        }
    }
}
