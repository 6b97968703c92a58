//! `/activation`

use super::values::{Id, Kind, Money, Status, Time};
use crate::http::Code;
use crate::http::openapi::headers::{LOCATION, PREFERENCE_APPLIED};
use crate::http::openapi::operation::{Caller, Operation, get, post};
use utoipa::ToSchema;

/// One change and the comment that shows that the connection lives.
const STREAM: &str = "event: status\nid: 42\ndata: {\"status\":\"SUCCESS\"}\n\n: waiting\n\n";

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        post("/activation/", "Buy an offer")
            .says(
                "Answers once the money is reserved; `Location` says where to see what becomes of it. \
                 A purchase that fails is refunded.",
            )
            .by(Caller::User)
            .takes::<ActivationRequest>()
            .answers::<Accepted>(202, "Accepted.")
            .sends(LOCATION)
            .repeatable()
            .refuses(&[Code::InsufficientBalance, Code::OfferNotFound, Code::Conflict]),
        get("/activation/status/{id}/", "How a purchase is going")
            .says(
                "For whom it was bought, and for the partner who bought it. `Prefer: wait=N` holds the answer \
                 until the status is final or N seconds (at most 30) have passed. `Accept: text/event-stream` \
                 tells every change as an event `status`, whose id is its position and whose data is this \
                 JSON, and ends after the final one; who has that already (`Last-Event-ID`) is answered 204.",
            )
            .by(Caller::UserOrPartner)
            .id("id", "The transaction.")
            .header("Prefer", "How long to hold the answer back: `wait=N` (RFC 7240).", "wait=10")
            .header("Last-Event-ID", "The id of the last event that was heard.", "42")
            .answers::<ActivationStatus>(200, "The status. All members are strings; unknown ones are left out.")
            .sends(PREFERENCE_APPLIED)
            .answers_text("text/event-stream", 200, "", STREAM)
            .answers_nothing(204, "The final status was told already.")
            .refuses(&[Code::TransactionNotFound]),
    ]
}

/// What is wanted.
#[derive(ToSchema)]
struct ActivationRequest {
    offer_id: Id,
}

/// A purchase has begun.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Accepted {
    transaction_id: Id,
    status: BeginStatus,
    #[schema(example = "Activation process started")]
    message: String,
}

/// Every purchase begins so.
#[derive(ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum BeginStatus {
    Pending,
}

/// How a purchase is going.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct ActivationStatus {
    transaction_id: Id,
    user_id: Id,
    offer_id: Id,
    amount: Money,
    status: Status,
    created_at: Time,
    updated_at: Time,
    kind: Kind,
    /// When it became final.
    #[schema(nullable = false)]
    completed_at: Option<Time>,
    /// The activation system's reference, once it succeeded.
    #[schema(nullable = false, example = "EXT-1")]
    reference: Option<String>,
    /// Why it failed.
    #[schema(nullable = false, example = "Sold out")]
    error_message: Option<String>,
    /// When the money went back.
    #[schema(nullable = false)]
    refunded_at: Option<Time>,
    /// The partner who bought it.
    #[schema(nullable = false)]
    partner_id: Option<Id>,
    /// `outcome_unknown`: it was tried, and nothing certain is known yet.
    #[schema(nullable = false, example = "outcome_unknown")]
    pending_reason: Option<String>,
}
