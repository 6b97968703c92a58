//! `/account`

use super::values::{Currency, Id, Kind, Money, Position, Status, Time, boolean};
use crate::http::Code;
use crate::http::openapi::operation::{Caller, Operation, get};
use crate::http::openapi::schemas::With;
use utoipa::ToSchema;

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        get("/account/", "Balance and active subscriptions")
            .by(Caller::User)
            .answers::<Overview>(200, "The caller's account."),
        get("/account/balance/", "Balance")
            .says("What is available; it shows a debit as soon as the POST that made it has answered.")
            .by(Caller::User)
            .answers::<Balance>(200, "The caller's balance."),
        get("/account/subscriptions/", "Subscriptions, newest first")
            .by(Caller::User)
            .query("is_active", "Only those that have, or have not, ended.", boolean())
            .lists::<Subscription>("The caller's subscriptions."),
        get("/account/transactions/", "Purchases, newest first")
            .by(Caller::User)
            .query_of::<Status>("status", "Only those with this status.")
            .query_of::<Kind>("kind", "Only those of this kind.")
            .lists::<Transaction>("The caller's purchases, those that partners made included."),
        get("/account/transactions/{id}/", "One purchase with its history")
            .by(Caller::User)
            .id("id", "The transaction.")
            .answers::<With<Transaction, History>>(200, "The purchase.")
            .refuses(&[Code::TransactionNotFound]),
    ]
}

/// An account at a glance.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Overview {
    balance: Money,
    currency: Currency,
    /// The active ones.
    #[schema(max_items = 1000)]
    subscriptions: Vec<Subscription>,
}

/// What is available.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Balance {
    balance: Money,
    currency: Currency,
    /// When it last changed; null when it never did.
    #[schema(required)]
    updated_at: Option<Time>,
}

/// The offer as it was called when it was bought.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OfferName {
    id: Id,
    #[schema(example = "Mobile Month 20 GB")]
    name: String,
}

/// An offer that the user has, or had.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Subscription {
    id: Id,
    offer_id: Id,
    offer: OfferName,
    activation_date: Time,
    expiration_date: Time,
    /// Whether the expiration date lies ahead at the moment of reading.
    is_active: bool,
    /// The purchase that began it.
    transaction_id: Id,
}

/// A purchase.
#[derive(ToSchema)]
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

/// A purchase with everything that happened to it.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct History {
    /// In order.
    #[schema(min_items = 1)]
    history: Vec<Happened>,
}

/// An event of a purchase.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Happened {
    /// `ActivationRequested`, `Processing`, `Succeeded`, `Failed`, `Refunded`.
    #[schema(example = "ActivationRequested")]
    event: String,
    at: Time,
    position: Position,
}
