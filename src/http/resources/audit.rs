//! `/audit`: history as it stands in the log.

use crate::app::history::At;
use crate::event_log::Filter;
use crate::http::Shared;
use crate::http::context::Context;
use crate::http::extract::caller::Auditor;
use crate::http::extract::page::PageParams;
use crate::http::extract::path::Id;
use crate::http::extract::preferences;
use crate::http::extract::query::{self, Parameters};
use crate::http::extract::values::{Expected, parse_uuid};
use crate::http::problem::Problem;
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::{Recorded, TransactionId};
use futures::TryStreamExt;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

const NDJSON: &str = "application/x-ndjson";

/// `GET /audit/events/`: a page as JSON, or with `Accept: application/x-ndjson` all records to the head.
pub(crate) async fn events(
    State(app): State<Shared>,
    _auditor: Auditor,
    context: Context,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (params, (after, filter)) = PageParams::read(parameters, "events", |parameters| {
        (parameters.optional("after", query::integer(0..=i64::MAX)), filter(parameters))
    })?;
    let after = params.key(|key| key.parse().ok())?.or(after).unwrap_or(0);
    if preferences::wants(NDJSON, &headers) {
        let pages = app.history.pages(filter, after).await?;
        let lines = Body::from_stream(pages.map_ok(|page| lines(&page)));
        return Ok(([(header::CONTENT_TYPE, NDJSON)], lines).into_response());
    }
    let slice = app.history.page(&filter, after, params.limit).await?;
    let items = slice.items.iter().map(with_leaf_hash).collect();
    Ok(params.answer(&context, items, slice.next.map(|position| position.to_string())))
}

/// `GET /audit/transactions/{id}/`: what happened to a transaction and to the subscription it caused.
pub(crate) async fn transaction(
    State(app): State<Shared>,
    _auditor: Auditor,
    Id(id): Id<TransactionId>,
) -> Result<Json<Value>, Problem> {
    let events = app.history.of_transaction(id).await?;
    let records: Vec<_> = events.iter().map(|event| raw(event.line())).collect();
    Ok(Json(json!({"transaction_id": id, "events": records})))
}

/// `GET /audit/accounts/{owner_id}/balance/?at=<position or time>`: what the owner had once that event was
/// in; without `at`, once the last one was. Beyond the head of the log it is as of the head.
pub(crate) async fn balance(
    State(app): State<Shared>,
    _auditor: Auditor,
    Id(owner): Id<Uuid>,
    parameters: Parameters,
) -> Result<Json<Value>, Problem> {
    let at = parameters.read(|parameters| parameters.optional("at", position_or_time))?;
    let found = app.history.balance_at(owner, at).await?;
    Ok(Json(json!({
        "balance": found.balance,
        "position": found.position,
        "recorded_at": found.recorded_at,
    })))
}

fn position_or_time(text: &str) -> Result<At, Expected> {
    if let Ok(position) = query::integer(0..=i64::MAX)(text) {
        return Ok(At::Position(position));
    }
    let moment = text.parse().map(At::Time);
    moment.map_err(|_| "must be a position or a time like 2026-11-22T08:30:00Z".to_owned())
}

fn filter(parameters: &mut Parameters) -> Filter {
    let id = |text: &str| match parse_uuid(text) {
        Some(id) => Ok(id.to_string()),
        None => Err("must be a UUID".to_owned()),
    };
    Filter {
        aggregate_type: parameters.optional("aggregate_type", query::text),
        aggregate_id: parameters.optional("aggregate_id", id),
        event_type: parameters.optional("event_type", query::text),
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

/// The record's ten members and the hash of its leaf in the Merkle tree (RFC 6962).
fn with_leaf_hash(event: &Recorded) -> Box<RawValue> {
    let line = event.line();
    let hash = Sha256::new().chain_update([0]).chain_update(&line).finalize();
    let members = line.strip_suffix('}').expect("a record line is an object");
    raw(format!(r#"{members},"leaf_hash":"{}"}}"#, STANDARD.encode(hash)))
}

fn raw(line: String) -> Box<RawValue> {
    RawValue::from_string(line).unwrap_or_else(|_| to_raw_value(&()).expect("null is JSON"))
}
