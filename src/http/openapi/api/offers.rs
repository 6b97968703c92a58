//! `/offers`

use super::account::Subscription;
use super::activation::Accepted;
use super::values::{Id, integer};
use crate::http::Code;
use crate::http::openapi::headers::LOCATION;
use crate::http::openapi::operation::{Caller, Operation, get, post};
use utoipa::ToSchema;

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        get("/offers/expiring/", "What of mine ends soon, soonest first")
            .by(Caller::User)
            .query("days", "How far to look ahead.", integer(1, 90).default(Some(3.into())))
            .lists::<Subscription>("The caller's active subscriptions that end within so many days."),
        post("/offers/renew/", "Renew a subscription")
            .says(
                "At today's price. Exactly one of the members says what is meant: a subscription, or of those \
                 to an offer the one that ends last. A running subscription is extended from its expiration \
                 date, one that has ended starts again now.",
            )
            .by(Caller::User)
            .takes::<Renewal>()
            .answers::<Accepted>(202, "Accepted, like an activation.")
            .sends(LOCATION)
            .repeatable()
            .refuses(&[
                Code::InsufficientBalance,
                Code::SubscriptionNotFound,
                Code::OfferNotFound,
                Code::Conflict,
            ]),
    ]
}

/// What is to go on: one of the two.
#[derive(ToSchema)]
#[serde(untagged)]
enum Renewal {
    Subscription { subscription_id: Id },
    Offer { offer_id: Id },
}
