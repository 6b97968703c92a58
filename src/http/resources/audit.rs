//! `/audit`: history as it stands in the log.

use crate::event_log::{EventLog, Filter, LogError, PAGE_EVENTS, StreamId};
use crate::http::Shared;
use crate::http::context::Context;
use crate::http::extract::caller::Auditor;
use crate::http::extract::page::PageParams;
use crate::http::extract::path::Id;
use crate::http::extract::preferences;
use crate::http::extract::query::{self, Parameters};
use crate::http::extract::values::{Expected, parse_uuid};
use crate::http::problem::Problem;
use crate::http::problem::mapping::{no_such_account, no_such_transaction};
use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use domain::transaction::{Event, Kind, Transaction};
use domain::user_offer::UserOffer;
use domain::{Recorded, SubscriptionId, Timestamp, TransactionId};
use futures::stream::{self, Stream};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// How long a balance waits for the entries of its events.
const BALANCE_WAIT: Duration = Duration::from_secs(5);
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
        let head = app.log.head().await?;
        let lines = Body::from_stream(lines(app.log.clone(), filter, after, head));
        return Ok(([(header::CONTENT_TYPE, NDJSON)], lines).into_response());
    }
    let limit = params.limit as usize;
    let mut found = app.log.search(&filter, after, i64::from(params.limit) + 1).await?;
    let more = found.len() > limit;
    found.truncate(limit);
    let next = found.last().filter(|_| more).map(|event| event.position.to_string());
    Ok(params.answer(&context, found.iter().map(with_leaf_hash).collect(), next))
}

/// `GET /audit/transactions/{id}/`: what happened to a transaction and to the subscription it caused.
pub(crate) async fn transaction(
    State(app): State<Shared>,
    _auditor: Auditor,
    Id(id): Id<TransactionId>,
) -> Result<Json<Value>, Problem> {
    let mut events = app.log.stream(StreamId::of::<Transaction>(id.0)).await?;
    let first = events.first().ok_or_else(no_such_transaction)?;
    let subscription = subscription_of(id, first)?;
    let of_subscription = app.log.stream(StreamId::of::<UserOffer>(subscription.0)).await?;
    events.extend(of_subscription.into_iter().filter(|event| is_caused_by(id, subscription, event)));
    events.sort_by_key(|event| event.position);
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
    if app.identity.owner_kind(owner).await?.is_none() {
        return Err(no_such_account());
    }
    let head = app.log.head().await?;
    let position = match at {
        None => head,
        Some(At::Position(position)) => position.min(head),
        Some(At::Time(moment)) => app.log.position_at(moment).await?,
    };
    app.readers.checkpoint().wait_for(position, Instant::now() + BALANCE_WAIT).await?;
    let balance = app.readers.balance_at(owner, position).await?;
    let recorded_at = app.log.recorded_at(position).await?;
    Ok(Json(json!({"balance": balance, "position": position, "recorded_at": recorded_at})))
}

/// A point in history.
enum At {
    Position(i64),
    Time(Timestamp),
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

/// The record lines after `after` up to `head`, a page at a time: memory stays bounded however long the
/// history is. A failure midway cuts the body off, which the client notices.
fn lines(
    log: EventLog,
    filter: Filter,
    after: i64,
    head: i64,
) -> impl Stream<Item = Result<Bytes, LogError>> {
    stream::try_unfold(after, move |after| {
        let (log, filter) = (log.clone(), filter.clone());
        async move {
            if after >= head {
                return Ok(None);
            }
            let page = page(&log, &filter, after).await?;
            let Some(last) = page.last().map(|event| event.position) else { return Ok(None) };
            let mut text = String::new();
            for event in page.iter().take_while(|event| event.position <= head) {
                text.push_str(&event.line());
                text.push('\n');
            }
            Ok(Some((Bytes::from(text), last)))
        }
    })
}

async fn page(log: &EventLog, filter: &Filter, after: i64) -> Result<Vec<Recorded>, LogError> {
    if filter.is_empty() {
        return log.page(after, PAGE_EVENTS).await; // stops at a hole
    }
    log.search(filter, after, i64::try_from(PAGE_EVENTS).expect("a thousand")).await
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

/// The subscription that the transaction starts or extends.
fn subscription_of(id: TransactionId, first: &Recorded) -> Result<SubscriptionId, Problem> {
    match domain::Event::decode(first).map_err(LogError::from)? {
        domain::Event::Transaction(Event::ActivationRequested(request)) if request.kind == Kind::Renewal => {
            Ok(request.subscription_id.unwrap_or(SubscriptionId::started_by(id)))
        }
        _ => Ok(SubscriptionId::started_by(id)),
    }
}

/// All of a subscription that the transaction started; of one that it extended, only the extension.
fn is_caused_by(id: TransactionId, subscription: SubscriptionId, event: &Recorded) -> bool {
    if subscription == SubscriptionId::started_by(id) {
        return true;
    }
    let Ok(domain::Event::UserOffer(event)) = domain::Event::decode(event) else { return false };
    matches!(event, domain::user_offer::Event::Renewed(period) if period.transaction_id == id)
}
