//! `/partner`

use super::values::{Amount, Currency, Id, Money, Status, Time, line, text};
use crate::http::Code;
use crate::http::openapi::headers::LOCATION;
use crate::http::openapi::operation::{Caller, Operation, get, post};
use crate::http::resources::activation::BeginStatus;
use serde_json::json;
use utoipa::ToSchema;

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        post("/partner/activate/", "Sell an offer")
            .says(
                "A partner acts for any user, on its own float account; a user for itself alone, on its own \
                 balance. `partner_reference` is the idempotency key when it is there, and the header is then \
                 not looked at. What is wrong is told in this order: missing fields, another's user, a \
                 reused key, user, offer, amount, balance.",
            )
            .by(Caller::UserOrPartner)
            .takes::<Sale>()
            .answers::<Sold>(201, "The money is reserved.")
            .sends(LOCATION)
            .repeatable()
            .refuses(&[
                Code::MissingFields,
                Code::NotAuthorizedForUser,
                Code::UnknownUser,
                Code::UnknownOffer,
                Code::AmountMismatch,
                Code::InsufficientBalance,
                Code::CallbackUrlNotAllowed,
                Code::Conflict,
            ]),
        get("/partner/validate/{reference}/", "What became of a sale")
            .says("For the partner who sold it, and for the user who got it.")
            .by(Caller::UserOrPartner)
            .segment("reference", "Ours: `REF-…`.", text(1, 200), "REF-0123456789AB")
            .answers::<Validation>(200, "The sale.")
            .refuses_with(Code::TransactionNotFound, json!({"reference": "REF-ZZZZZZZZZZZZ", "is_valid": false})),
        get("/partner/transactions/", "Sales, newest first")
            .says("For a partner who never got the answer: look for your own reference.")
            .by(Caller::Partner)
            .query("partner_reference", "The partner's own reference.", line(0, 200))
            .query_of::<Status>("status", "Only those with this status.")
            .lists::<Validation>("The caller's sales."),
        get("/partner/balance/", "Balance of the float account")
            .by(Caller::Partner)
            .answers::<FloatBalance>(200, "What is available."),
        post("/partner/callbacks/test/", "Try the callback")
            .says("A signed `ping` goes to the registered URL.")
            .by(Caller::Partner)
            .answers::<PingSent>(202, "On its way.")
            .sends(LOCATION)
            .refuses(&[Code::Conflict, Code::PartnerNotFound]),
        get("/partner/callbacks/{id}/", "What became of a callback")
            .by(Caller::Partner)
            .id("id", "The callback.")
            .answers::<Callback>(200, "The callback.")
            .refuses(&[Code::CallbackNotFound]),
    ]
}

/// What is sold, to whom, for how much.
#[derive(ToSchema)]
struct Sale {
    user_id: Id,
    offer_id: Id,
    /// The price, as the partner knows it.
    amount: Amount,
    /// The partner's own reference; repeats are recognised by it.
    #[schema(min_length = 1, max_length = 200, format = "line", example = "order-7")]
    partner_reference: Option<String>,
    /// Where the callback goes instead of the registered URL; of the same origin.
    #[schema(min_length = 1, max_length = 4096, format = "line", example = json!(null))]
    callback_url: Option<String>,
}

/// A sale has begun.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Sold {
    reference: Reference,
    transaction_id: Id,
    status: BeginStatus,
    #[schema(example = "Activation request received")]
    message: String,
}

/// Our reference for a sale.
#[derive(ToSchema)]
#[schema(pattern = "^REF-[A-Z0-9]{12}$", example = "REF-0123456789AB")]
struct Reference(String);

/// A sale as the partner who made it sees it; the `data` of a callback.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Validation {
    reference: Reference,
    #[schema(required, example = "order-7")]
    partner_reference: Option<String>,
    transaction_id: Id,
    user_id: Id,
    offer_id: Id,
    amount: Money,
    status: Status,
    created_at: Time,
    updated_at: Time,
    /// Always true.
    is_valid: bool,
}

/// What is available.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct FloatBalance {
    balance: Money,
    currency: Currency,
}

/// A ping is on its way.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct PingSent {
    /// Of the callback.
    id: Id,
    #[schema(example = "A ping is on its way to the registered URL")]
    message: String,
}

/// Something that a partner is told.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Callback {
    id: Id,
    /// The `webhook-id` that the receiver sees.
    webhook_id: Id,
    r#type: CallbackType,
    /// About what; null for a ping.
    #[schema(required)]
    transaction_id: Option<Id>,
    #[schema(example = "https://shop.example/hook")]
    url: String,
    status: CallbackStatus,
    /// Tries since it was made or sent again.
    #[schema(minimum = 0, example = 1)]
    attempts: u32,
    /// Null unless it is pending.
    #[schema(required, example = json!(null))]
    next_attempt_at: Option<Time>,
    /// The HTTP status of the last try.
    #[schema(required, example = 200)]
    last_status: Option<i32>,
    /// Why the last try did not count.
    #[schema(required, example = json!(null))]
    last_error: Option<String>,
    created_at: Time,
    #[schema(required)]
    delivered_at: Option<Time>,
}

/// What is told.
#[derive(ToSchema)]
pub(crate) enum CallbackType {
    #[serde(rename = "transaction.succeeded")]
    Succeeded,
    #[serde(rename = "transaction.failed")]
    Failed,
    #[serde(rename = "ping")]
    Ping,
}

/// Where a callback stands: to be tried, taken by the receiver, given up until a person looks, without
/// an endpoint.
#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CallbackStatus {
    Pending,
    Delivered,
    Parked,
    Disabled,
}
