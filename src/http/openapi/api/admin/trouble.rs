//! `/admin/transactions`, `/admin/callbacks`, `/admin/parked`: what an operator looks at when something
//! does not go as it should.

use super::Reason;
use crate::http::Code;
use crate::http::openapi::api::partner::{CallbackStatus, CallbackType};
use crate::http::openapi::api::values::{Id, Position, Status, Time, boolean, integer};
use crate::http::openapi::headers::LOCATION;
use crate::http::openapi::operation::{Caller, Operation, get, post};
use crate::http::openapi::schemas::With;
use crate::http::resources::account::Transaction;
use utoipa::ToSchema;

pub(crate) fn operations() -> Vec<Operation> {
    [transactions(), callbacks(), parked()].into_iter().flatten().collect()
}

fn transactions() -> Vec<Operation> {
    vec![
        get("/admin/transactions/", "All purchases, newest first")
            .by(Caller::Admin)
            .query_of::<Status>("status", "Only those with this status.")
            .query_of::<Id>("user_id", "Only those for this user.")
            .query_of::<Id>("partner_id", "Only those that this partner sold.")
            .query("in_doubt", "Only those of which nothing certain is known, or only others.", boolean())
            .query("older_than_s", "Only those asked for so many seconds ago.", integer(0, 3_162_240_000))
            .lists::<With<Transaction, Trials>>("Purchases with what was tried for each."),
    ]
}

fn callbacks() -> Vec<Operation> {
    vec![
        get("/admin/callbacks/", "Callbacks, newest first")
            .by(Caller::Admin)
            .query_of::<CallbackStatus>("status", "Only those with this status.")
            .lists::<Delivery>("Callbacks."),
        get("/admin/callbacks/{id}/", "One callback")
            .by(Caller::Admin)
            .id("id", "The callback.")
            .answers::<Delivery>(200, "The callback.")
            .refuses(&[Code::CallbackNotFound]),
        post("/admin/callbacks/{id}/resend/", "Send a callback again")
            .says("The same bytes under the same `webhook-id`, with all its tries.")
            .by(Caller::Admin)
            .id("id", "The callback.")
            .takes_if_any::<Reason>()
            .answers::<SentAgain>(202, "On its way.")
            .sends(LOCATION)
            .refuses(&[Code::CallbackNotFound, Code::Conflict]),
    ]
}

fn parked() -> Vec<Operation> {
    vec![
        get("/admin/parked/", "What could not be handled, newest first")
            .by(Caller::Admin)
            .lists::<Parked>("Messages that wait for a person."),
        get("/admin/parked/{id}/", "One parked message")
            .by(Caller::Admin)
            .id("id", "The message.")
            .answers::<Parked>(200, "The message, also after it was sent back to work.")
            .refuses(&[Code::ParkedNotFound]),
        post("/admin/parked/{id}/requeue/", "Try a parked message again")
            .by(Caller::Admin)
            .id("id", "The message.")
            .takes_if_any::<Reason>()
            .answers::<Requeued>(202, "A processor takes it up within seconds.")
            .sends(LOCATION)
            .refuses(&[Code::ParkedNotFound]),
    ]
}

/// A purchase with what was tried for it.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Trials {
    /// Who pays: the user or the partner.
    account_id: Id,
    #[schema(required, example = json!(null))]
    partner_id: Option<Id>,
    /// The partner's own.
    #[schema(required, example = json!(null))]
    partner_reference: Option<String>,
    /// Ours for the partner: `REF-…`.
    #[schema(required, example = json!(null))]
    partner_validate_reference: Option<String>,
    /// Why it is neither done nor refused although it was tried.
    #[schema(required, example = json!(null))]
    pending_reason: Option<String>,
    /// Why it failed, for programs.
    #[schema(required, example = json!(null))]
    error_code: Option<String>,
    /// In order.
    attempts: Vec<Attempt>,
}

/// One time that the activation system was asked.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Attempt {
    /// When the intent was recorded.
    at: Time,
    /// What it was asked for.
    #[schema(example = "activate")]
    kind: String,
    /// What is certain because of it.
    #[schema(required, example = "activated")]
    evidence: Option<String>,
    /// The system's own words.
    #[schema(required, example = "EXT-1")]
    detail: Option<String>,
}

/// A callback as an operator sees it.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Delivery {
    id: Id,
    partner_id: Id,
    /// The `webhook-id` that the receiver sees.
    event_id: Id,
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
    /// The beginning of the last answer's body.
    #[schema(required, example = "ok")]
    last_response: Option<String>,
    created_at: Time,
    #[schema(required)]
    delivered_at: Option<Time>,
}

/// A callback is sent again.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct SentAgain {
    id: Id,
    #[schema(example = "The callback is sent again")]
    message: String,
}

/// A message that a processor could not handle.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Parked {
    id: Id,
    /// Who could not handle it.
    #[schema(example = "activation")]
    consumer: String,
    position: Position,
    #[schema(example = "offers.events.transaction.activation_requested")]
    subject: String,
    #[schema(required)]
    event_id: Option<Id>,
    #[schema(required)]
    aggregate_id: Option<Id>,
    /// Why.
    #[schema(example = "the event cannot be read")]
    reason: String,
    /// Deliveries until it was given up.
    #[schema(minimum = 0, example = 5)]
    attempts: u64,
    parked_at: Time,
    /// When somebody sent it back to work.
    #[schema(required, example = json!(null))]
    requeued_at: Option<Time>,
    /// When a processor took it up since.
    #[schema(required, example = json!(null))]
    resumed_at: Option<Time>,
}

/// A message is tried again.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Requeued {
    id: Id,
    position: Position,
    #[schema(example = "The message is taken up again")]
    message: String,
}
