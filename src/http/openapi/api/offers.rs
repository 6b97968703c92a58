//! `/offers`

use super::account::Subscription;
use super::activation::Accepted;
use super::values::{Id, Money, Time, integer};
use crate::http::Code;
use crate::http::openapi::headers::{ETAG, LOCATION};
use crate::http::openapi::operation::{Caller, Operation, get, post};
use utoipa::ToSchema;

pub(crate) fn operations() -> Vec<Operation> {
    let etag = "\"5d41402abc4b2a76b9719d911017c592\"";
    vec![
        get("/offers/", "What is on sale, by name")
            .by(Caller::UserOrPartner)
            .header("If-None-Match", "The `ETag` of an earlier answer.", etag)
            .lists::<Offer>("Offers on sale.")
            .sends(ETAG)
            .answers_nothing(304, "Nothing has changed.")
            .sends(ETAG),
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
        get("/offers/{id}/", "One offer, on sale or not")
            .by(Caller::UserOrPartner)
            .id("id", "The offer.")
            .answers::<Offer>(200, "The offer.")
            .refuses(&[Code::OfferNotFound]),
    ]
}

/// What can be bought, for how much, for how long.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Offer {
    id: Id,
    #[schema(example = "Mobile Month 20 GB")]
    name: String,
    /// May be empty.
    #[schema(example = "20 GB for 30 days")]
    description: String,
    price: Money,
    /// Days of 24 hours.
    #[schema(minimum = 1, maximum = 3650, example = 30)]
    duration_days: u32,
    /// Whether it is on sale.
    is_active: bool,
    created_at: Time,
    updated_at: Time,
}

/// What is to go on: one of the two.
#[derive(ToSchema)]
#[serde(untagged)]
enum Renewal {
    Subscription { subscription_id: Id },
    Offer { offer_id: Id },
}
