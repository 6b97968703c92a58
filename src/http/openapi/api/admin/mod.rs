//! `/admin`: unknown members of a body are refused here.

mod accounts;
mod offers;
mod partners;
mod trouble;

use crate::http::openapi::operation::Operation;
use utoipa::ToSchema;

pub(crate) fn operations() -> Vec<Operation> {
    let all = [accounts::operations(), offers::operations()];
    all.into_iter().chain([partners::operations(), trouble::operations()]).flatten().collect()
}

/// Why, and nothing else.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Reason {
    /// In your words; kept.
    #[schema(min_length = 1, max_length = 500, format = "prose", example = "Asked for by the partner")]
    reason: Option<String>,
}
