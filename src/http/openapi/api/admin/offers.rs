//! `/admin/offers`

use crate::http::Code;
use crate::http::openapi::api::values::Amount;
use crate::http::openapi::headers::LOCATION;
use crate::http::openapi::operation::{Caller, Operation, patch, post};
use crate::http::resources::offers::Offer;
use utoipa::ToSchema;

pub(crate) fn operations() -> Vec<Operation> {
    vec![
        post("/admin/offers/", "Add an offer")
            .by(Caller::Admin)
            .takes::<NewOffer>()
            .answers::<Offer>(201, "The new offer.")
            .sends(LOCATION)
            .refuses(&[Code::Conflict]),
        patch("/admin/offers/{id}/", "Change an offer")
            .says("A new price touches new purchases only.")
            .by(Caller::Admin)
            .id("id", "The offer.")
            .takes::<OfferChange>()
            .answers::<Offer>(200, "The offer as it is now.")
            .refuses(&[Code::OfferNotFound, Code::Conflict]),
    ]
}

/// What can be bought.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct NewOffer {
    /// One line.
    #[schema(min_length = 1, max_length = 100, format = "line", example = "Mobile Month 20 GB")]
    name: String,
    /// Newlines and tabs are allowed.
    #[schema(max_length = 2000, format = "prose", example = "20 GB for 30 days")]
    description: Option<String>,
    price: Amount,
    /// Days of 24 hours.
    #[schema(minimum = 1, maximum = 3650, example = 30)]
    duration_days: u32,
    /// On sale at once, unless false.
    is_active: Option<bool>,
    /// Why, in your words; kept.
    #[schema(min_length = 1, max_length = 500, format = "prose", example = "Asked for by the customer")]
    reason: Option<String>,
}

/// What changes; the rest stays.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct OfferChange {
    /// One line.
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 100,
        format = "line",
        example = "Mobile Month 20 GB"
    )]
    name: Option<String>,
    /// Newlines and tabs are allowed.
    #[schema(nullable = false, max_length = 2000, format = "prose", example = "20 GB for 30 days")]
    description: Option<String>,
    #[schema(nullable = false)]
    price: Option<Amount>,
    /// Days of 24 hours.
    #[schema(nullable = false, minimum = 1, maximum = 3650, example = 30)]
    duration_days: Option<u32>,
    /// Whether it is on sale.
    #[schema(nullable = false)]
    is_active: Option<bool>,
    /// Why, in your words; kept.
    #[schema(min_length = 1, max_length = 500, format = "prose", example = "Asked for by the customer")]
    reason: Option<String>,
}
