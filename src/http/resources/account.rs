//! `/account`: the caller's own balance, subscriptions and transactions.

use crate::http::context::Context;
use crate::http::extract::caller::User;
use crate::http::extract::page::{Page, PageParams};
use crate::http::extract::path;
use crate::http::extract::query::{Parameters, boolean, variant};
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::problem::mapping::no_such_transaction;
use crate::http::values::{Currency, Id, Kind, Money, Position, Status, Time, With};
use crate::http::{Code, Shared};
use axum::extract::State;
use domain::{OfferId, Recorded, Timestamp, TransactionId, UserId};
use projections::transaction::UserFilter;
use projections::{SubscriptionView, TransactionView};
use serde::Serialize;
use utoipa::ToSchema;

/// How many active subscriptions the overview shows at most; the list has all.
const OVERVIEW_SUBSCRIPTIONS: u32 = 1000;

/// An account at a glance.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Overview {
    balance: Money,
    currency: Currency,
    /// The active ones.
    #[schema(max_items = 1000)]
    subscriptions: Vec<Subscription>,
}

/// What is available.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Balance {
    balance: Money,
    currency: Currency,
    /// When it last changed; null when it never did.
    #[schema(required)]
    updated_at: Option<Time>,
}

/// The offer as it was called when it was bought.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfferName {
    id: Id,
    #[schema(example = "Mobile Month 20 GB")]
    name: String,
}

/// An offer that the user has, or had.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subscription {
    id: Id,
    offer_id: Id,
    offer: OfferName,
    activation_date: Time,
    expiration_date: Time,
    /// Whether the expiration date lies ahead at the moment of reading.
    is_active: bool,
    /// The transaction that began it.
    transaction_id: Id,
}

/// A transaction: what a user or a partner asked for.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Transaction {
    transaction_id: Id,
    kind: Kind,
    user_id: Id,
    offer_id: Id,
    offer: OfferName,
    amount: Money,
    status: Status,
    /// The activation system's reference, once it succeeded.
    #[schema(required, example = "EXT-1")]
    reference: Option<String>,
    /// Why it failed.
    #[schema(required, example = json!(null))]
    error_message: Option<String>,
    created_at: Time,
    updated_at: Time,
    /// When it became final.
    #[schema(required)]
    completed_at: Option<Time>,
    /// When the money went back.
    #[schema(required, example = json!(null))]
    refunded_at: Option<Time>,
}

/// A transaction with everything that happened to it.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct History {
    /// In order.
    #[schema(min_items = 1)]
    history: Vec<HistoryEntry>,
}

/// An event of a transaction.
#[derive(Serialize, ToSchema)]
#[schema(as = Happened)]
#[serde(deny_unknown_fields)]
pub(crate) struct HistoryEntry {
    /// `ActivationRequested`, `Processing`, `Succeeded`, `Failed`, `Refunded`.
    #[schema(example = "ActivationRequested")]
    event: String,
    at: Time,
    position: Position,
}

pub(crate) type SubscriptionPage = Page<Subscription>;
type TransactionPage = Page<Transaction>;
type TransactionWithHistory = With<Transaction, History>;

/// Balance and active subscriptions
#[utoipa::path(get, path = "/account", security(("Bearer" = ["user"])),
    responses((status = 200, description = "The caller's account.", body = Overview)))]
pub(crate) async fn overview(State(app): State<Shared>, user: User) -> Result<Json<Overview>, Problem> {
    let now = app.clock.now();
    let balance = app.accounts.balance(user.id.into()).await?;
    let subscriptions =
        app.accounts.subscriptions(user.id, Some(true), now, None, OVERVIEW_SUBSCRIPTIONS).await?;
    Ok(Json(Overview {
        balance: balance.balance.into(),
        currency: Currency(app.currency.clone()),
        subscriptions: subscriptions.items.iter().map(|view| Subscription::of(view, now)).collect(),
    }))
}

/// Balance
///
/// What is available; it shows a debit as soon as the POST that made it has answered.
#[utoipa::path(get, path = "/account/balance", security(("Bearer" = ["user"])),
    responses((status = 200, description = "The caller's balance.", body = Balance)))]
pub(crate) async fn balance(State(app): State<Shared>, user: User) -> Result<Json<Balance>, Problem> {
    let balance = app.accounts.balance(user.id.into()).await?;
    Ok(Json(Balance {
        balance: balance.balance.into(),
        currency: Currency(app.currency.clone()),
        updated_at: balance.updated_at.map(Into::into),
    }))
}

/// Subscriptions, newest first
#[utoipa::path(get, path = "/account/subscriptions", security(("Bearer" = ["user"])),
    params(
        ("is_active" = bool, Query, description = "Only those that have, or have not, ended."),
        PageParams,
    ),
    responses((status = 200, description = "The caller's subscriptions.", body = SubscriptionPage)))]
pub(crate) async fn subscriptions(
    State(app): State<Shared>,
    user: User,
    context: Context,
    parameters: Parameters,
) -> Result<Json<SubscriptionPage>, Problem> {
    list_subscriptions(&app, user.id, &context, parameters).await
}

/// The subscriptions of `user`, whoever reads them.
pub(crate) async fn list_subscriptions(
    app: &Shared,
    user: UserId,
    context: &Context,
    parameters: Parameters,
) -> Result<Json<SubscriptionPage>, Problem> {
    let (params, active) = PageParams::read(parameters, "subscriptions", |parameters| {
        parameters.optional("is_active", boolean)
    })?;
    let after = params.after()?;
    let now = app.clock.now();
    let slice = app.accounts.subscriptions(user, active, now, after, params.limit).await?;
    Ok(Json(params.page(context, slice.map(|view| Subscription::of(&view, now)))))
}

/// Transactions, newest first
#[utoipa::path(get, path = "/account/transactions", security(("Bearer" = ["user"])),
    params(
        ("status" = Status, Query, description = "Only those with this status."),
        ("kind" = Kind, Query, description = "Only those of this kind."),
        PageParams,
    ),
    responses((status = 200, description = "The caller's transactions, those that partners made included.",
        body = TransactionPage)))]
pub(crate) async fn transactions(
    State(app): State<Shared>,
    user: User,
    context: Context,
    parameters: Parameters,
) -> Result<Json<TransactionPage>, Problem> {
    let (params, filter) = PageParams::read(parameters, "transactions", |parameters| UserFilter {
        status: parameters.optional("status", variant::<Status>).map(Into::into),
        kind: parameters.optional("kind", variant::<Kind>).map(Into::into),
    })?;
    let after = params.after()?;
    let slice = app.statuses.list_for_user(user.id, filter, after, params.limit).await?;
    Ok(Json(params.page(&context, slice.map(|view| Transaction::from(&view)))))
}

/// One transaction with its history
#[utoipa::path(get, path = "/account/transactions/{id}", security(("Bearer" = ["user"])),
    params(("id" = Id, Path, description = "The transaction.")),
    responses((status = 200, description = "The transaction.", body = TransactionWithHistory)),
    extensions(("x-refusals" = json!(refusals(&[Code::TransactionNotFound])))))]
pub(crate) async fn transaction_detail(
    State(app): State<Shared>,
    user: User,
    path::Id(id): path::Id<TransactionId>,
) -> Result<Json<TransactionWithHistory>, Problem> {
    let known = app.statuses.find(id).await?;
    let known =
        known.filter(|known| known.view.request.user_id == user.id).ok_or_else(no_such_transaction)?;
    let history = known.events.iter().map(HistoryEntry::from).collect();
    Ok(Json(With { base: Transaction::from(&known.view), more: History { history } }))
}

impl OfferName {
    fn new(id: OfferId, name: &str) -> Self {
        Self { id: id.into(), name: name.to_owned() }
    }
}

impl Subscription {
    pub(crate) fn of(view: &SubscriptionView, now: Timestamp) -> Self {
        Self {
            id: view.subscription_id.into(),
            offer_id: view.offer_id.into(),
            offer: OfferName::new(view.offer_id, &view.offer_name),
            activation_date: view.activation_date.into(),
            expiration_date: view.expiration_date.into(),
            is_active: view.is_active(now),
            transaction_id: view.transaction_id.into(),
        }
    }
}

impl From<&TransactionView> for Transaction {
    fn from(view: &TransactionView) -> Self {
        let request = &view.request;
        Self {
            transaction_id: view.transaction_id.into(),
            kind: request.kind.into(),
            user_id: request.user_id.into(),
            offer_id: request.offer_id.into(),
            offer: OfferName::new(request.offer_id, &request.offer_name),
            amount: request.amount.into(),
            status: view.status.into(),
            reference: view.external_reference.clone(),
            error_message: view.error_message.clone(),
            created_at: view.created_at.into(),
            updated_at: view.updated_at.into(),
            completed_at: view.completed_at.map(Into::into),
            refunded_at: view.refunded_at.map(Into::into),
        }
    }
}

impl From<&Recorded> for HistoryEntry {
    fn from(event: &Recorded) -> Self {
        Self {
            event: event.event_type.clone(),
            at: event.recorded_at.into(),
            position: Position(event.position),
        }
    }
}
