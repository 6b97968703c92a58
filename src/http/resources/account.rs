//! `/account`: the caller's own balance, subscriptions and transactions.

use crate::http::Shared;
use crate::http::context::Context;
use crate::http::extract::caller::User;
use crate::http::extract::page::PageParams;
use crate::http::extract::path::Id;
use crate::http::extract::query::{Parameters, boolean, one_of};
use crate::http::problem::Problem;
use crate::http::problem::mapping::no_such_transaction;
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use domain::transaction::{Kind, Status};
use domain::{Recorded, Timestamp, TransactionId};
use projections::transaction::UserFilter;
use projections::{SubscriptionView, TransactionView};
use serde_json::{Value, json};

/// How many active subscriptions the overview shows at most; the list has all.
const OVERVIEW_SUBSCRIPTIONS: u32 = 1000;

/// The statuses by the names that clients write.
pub(crate) const STATUSES: [(&str, Status); 4] = [
    ("PENDING", Status::Pending),
    ("PROCESSING", Status::Processing),
    ("SUCCESS", Status::Success),
    ("FAILED", Status::Failed),
];
const KINDS: [(&str, Kind); 3] =
    [("activation", Kind::Activation), ("renewal", Kind::Renewal), ("partner", Kind::Partner)];

/// `GET /account/`
pub(crate) async fn overview(State(app): State<Shared>, user: User) -> Result<Json<Value>, Problem> {
    let now = app.clock.now();
    let balance = app.accounts.balance(user.id.into()).await?;
    let subscriptions =
        app.accounts.subscriptions(user.id, Some(true), now, None, OVERVIEW_SUBSCRIPTIONS).await?;
    Ok(Json(json!({
        "balance": balance.balance,
        "currency": app.currency,
        "subscriptions": subscriptions.items.iter().map(|item| subscription(item, now)).collect::<Vec<_>>(),
    })))
}

/// `GET /account/balance/`: what is available now, from where it is judged.
pub(crate) async fn balance(State(app): State<Shared>, user: User) -> Result<Json<Value>, Problem> {
    let balance = app.accounts.balance(user.id.into()).await?;
    Ok(Json(json!({
        "balance": balance.balance,
        "currency": app.currency,
        "updated_at": balance.updated_at,
    })))
}

/// `GET /account/subscriptions/`
pub(crate) async fn subscriptions(
    State(app): State<Shared>,
    user: User,
    context: Context,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (params, active) = PageParams::read(parameters, "subscriptions", |parameters| {
        parameters.optional("is_active", boolean)
    })?;
    let after = params.key(|key| key.parse().ok())?;
    let now = app.clock.now();
    let slice = app.accounts.subscriptions(user.id, active, now, after, params.limit).await?;
    let items = slice.items.iter().map(|item| subscription(item, now)).collect();
    Ok(params.answer(&context, items, slice.next.map(|key| key.to_string())))
}

/// `GET /account/transactions/`
pub(crate) async fn transactions(
    State(app): State<Shared>,
    user: User,
    context: Context,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (params, filter) = PageParams::read(parameters, "transactions", |parameters| UserFilter {
        status: parameters.optional("status", one_of(&STATUSES)),
        kind: parameters.optional("kind", one_of(&KINDS)),
    })?;
    let after = params.key(|key| key.parse().ok())?;
    let slice = app.statuses.list_for_user(user.id, filter, after, params.limit).await?;
    let items = slice.items.iter().map(transaction).collect();
    Ok(params.answer(&context, items, slice.next.map(|key| key.to_string())))
}

/// `GET /account/transactions/{id}/`: with everything that happened to it.
pub(crate) async fn transaction_detail(
    State(app): State<Shared>,
    user: User,
    Id(id): Id<TransactionId>,
) -> Result<Json<Value>, Problem> {
    let known = app.statuses.find(id).await?;
    let known =
        known.filter(|known| known.view.request.user_id == user.id).ok_or_else(no_such_transaction)?;
    let mut shown = transaction(&known.view);
    shown["history"] = known.events.iter().map(happened).collect();
    Ok(Json(shown))
}

/// A subscription as its owner sees it.
pub(crate) fn subscription(view: &SubscriptionView, now: Timestamp) -> Value {
    json!({
        "id": view.subscription_id,
        "offer_id": view.offer_id,
        "offer": {"id": view.offer_id, "name": view.offer_name},
        "activation_date": view.activation_date,
        "expiration_date": view.expiration_date,
        "is_active": view.is_active(now),
        "transaction_id": view.transaction_id,
    })
}

/// A transaction as its user sees it.
pub(crate) fn transaction(view: &TransactionView) -> Value {
    json!({
        "transaction_id": view.transaction_id,
        "kind": view.request.kind,
        "user_id": view.request.user_id,
        "offer_id": view.request.offer_id,
        "offer": {"id": view.request.offer_id, "name": view.request.offer_name},
        "amount": view.request.amount,
        "status": view.status,
        "reference": view.external_reference,
        "error_message": view.error_message,
        "created_at": view.created_at,
        "updated_at": view.updated_at,
        "completed_at": view.completed_at,
        "refunded_at": view.refunded_at,
    })
}

fn happened(event: &Recorded) -> Value {
    json!({"event": event.event_type, "at": event.recorded_at, "position": event.position})
}
