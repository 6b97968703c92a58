//! `/admin/accounts`

use crate::http::Code;
use crate::http::openapi::api::values::{Amount, Id, Money, Position};
use crate::http::openapi::operation::{Caller, Operation, get, post};
use utoipa::ToSchema;

pub(crate) fn operations() -> Vec<Operation> {
    let owner = "The user or partner.";
    vec![
        get("/admin/accounts/{owner_id}/", "What somebody has")
            .by(Caller::Admin)
            .id("owner_id", owner)
            .answers::<Account>(200, "The account.")
            .refuses(&[Code::AccountNotFound]),
        post("/admin/accounts/{owner_id}/credit/", "Pay in")
            .by(Caller::Admin)
            .id("owner_id", owner)
            .takes::<Transfer>()
            .answers::<Transferred>(201, "Paid in.")
            .repeatable()
            .refuses(&[Code::AccountNotFound, Code::Conflict]),
        post("/admin/accounts/{owner_id}/debit/", "Pay out")
            .by(Caller::Admin)
            .id("owner_id", owner)
            .takes::<Transfer>()
            .answers::<Transferred>(201, "Paid out.")
            .repeatable()
            .refuses(&[Code::AccountNotFound, Code::InsufficientBalance, Code::Conflict]),
    ]
}

/// What a user or a partner has.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Account {
    /// The same as `owner_id`.
    account_id: Id,
    owner_id: Id,
    kind: OwnerKind,
    balance: Money,
}

#[derive(ToSchema)]
#[serde(rename_all = "snake_case")]
enum OwnerKind {
    User,
    Partner,
}

/// Money in or out.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Transfer {
    /// More than 0.00.
    amount: Amount,
    /// For people; kept with the event, never published.
    #[schema(min_length = 1, max_length = 500, format = "prose", example = "Paid at the desk")]
    reason: String,
    /// Of the payment elsewhere.
    #[schema(min_length = 1, max_length = 200, format = "line", example = "INV-2026-117")]
    reference: Option<String>,
}

/// Money went in or out.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
struct Transferred {
    account_id: Id,
    amount: Money,
    /// After it.
    balance: Money,
    /// Of the event.
    position: Position,
}
