//! `/admin/accounts`: what users and partners have, and paying in and out.

use super::MAX_REASON;
use crate::app::accounts::{Adjustment, Direction};
use crate::app::idempotency::IdempotentRequest;
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::fields::Fields;
use crate::http::extract::idempotency::IdempotencyKeyHeader;
use crate::http::extract::path;
use crate::http::extract::request::{Request, request};
use crate::http::extract::rules::{Line, PositiveAmount, Prose};
use crate::http::headers::IDEMPOTENT_REPLAYED;
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::problem::mapping::no_such_account;
use crate::http::values::{self, Id, Position};
use crate::http::{Code, Shared};
use crate::identity;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::{AccountId, Metadata, Money};
use serde::Serialize;
use utoipa::ToSchema;

/// The longest reference, in characters.
const MAX_REFERENCE: usize = 200;

request! {
    /// Money in or out.
    strict Transfer {
        /// More than 0.00.
        amount: Money = required(PositiveAmount),
        /// For people; the owner reads it in the statement. Kept with the event, never published to analysts.
        reason: String = required(Prose(1..=MAX_REASON), "Paid at the desk"),
        /// Of the payment elsewhere.
        reference: Option<String> = optional(Line(1..=MAX_REFERENCE), "INV-2026-117"),
    }
}

/// What a user or a partner has.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Account {
    /// The same as `owner_id`.
    account_id: Id,
    owner_id: Id,
    kind: OwnerKind,
    balance: values::Money,
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OwnerKind {
    User,
    Partner,
}

/// Money went in or out.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Transferred {
    account_id: Id,
    amount: values::Money,
    /// After it.
    balance: values::Money,
    /// Of the event.
    position: Position,
}

/// What a user or a partner has
#[utoipa::path(get, path = "/admin/accounts/{owner_id}", security(("Bearer" = ["admin"])),
    params(("owner_id" = Id, Path, description = "The user or partner.")),
    responses((status = 200, description = "The account.", body = Account)),
    extensions(("x-refusals" = json!(refusals(&[Code::AccountNotFound])))))]
pub(crate) async fn detail(
    State(app): State<Shared>,
    _admin: Admin,
    path::Id(id): path::Id<AccountId>,
) -> Result<Json<Account>, Problem> {
    let kind = match app.accounts.owner_kind(id).await?.ok_or_else(no_such_account)? {
        identity::OwnerKind::User => OwnerKind::User,
        identity::OwnerKind::Partner => OwnerKind::Partner,
    };
    let balance = app.accounts.balance(id).await?.balance.into();
    Ok(Json(Account { account_id: id.into(), owner_id: id.into(), kind, balance }))
}

/// Pay in
#[utoipa::path(post, path = "/admin/accounts/{owner_id}/credit", security(("Bearer" = ["admin"])),
    params(("owner_id" = Id, Path, description = "The user or partner."), IdempotencyKeyHeader),
    request_body = Transfer,
    responses((status = 201, description = "Paid in.", body = Transferred)),
    extensions(("x-refusals" = json!(refusals(&[Code::AccountNotFound, Code::Conflict])))))]
pub(crate) async fn credit(
    State(app): State<Shared>,
    Admin(admin): Admin,
    context: Context,
    path::Id(id): path::Id<AccountId>,
    key: Option<IdempotencyKeyHeader>,
    fields: Fields,
) -> Result<Response, Problem> {
    let metadata = context.metadata(admin.actor().to_string());
    let request =
        AdjustRequest { admin: admin.id(), account_id: id, direction: Direction::Credit, key, metadata };
    request.adjust(&app, fields).await
}

/// Pay out
#[utoipa::path(post, path = "/admin/accounts/{owner_id}/debit", security(("Bearer" = ["admin"])),
    params(("owner_id" = Id, Path, description = "The user or partner."), IdempotencyKeyHeader),
    request_body = Transfer,
    responses((status = 201, description = "Paid out.", body = Transferred)),
    extensions(("x-refusals" =
        json!(refusals(&[Code::AccountNotFound, Code::InsufficientBalance, Code::Conflict])))))]
pub(crate) async fn debit(
    State(app): State<Shared>,
    Admin(admin): Admin,
    context: Context,
    path::Id(id): path::Id<AccountId>,
    key: Option<IdempotencyKeyHeader>,
    fields: Fields,
) -> Result<Response, Problem> {
    let metadata = context.metadata(admin.actor().to_string());
    let request =
        AdjustRequest { admin: admin.id(), account_id: id, direction: Direction::Debit, key, metadata };
    request.adjust(&app, fields).await
}

/// What the path and the headers say.
struct AdjustRequest {
    admin: uuid::Uuid,
    account_id: AccountId,
    direction: Direction,
    key: Option<IdempotencyKeyHeader>,
    metadata: Metadata,
}

impl AdjustRequest {
    async fn adjust(self, app: &Shared, fields: Fields) -> Result<Response, Problem> {
        let Transfer { amount, reason, reference } = Request::of(fields)?;
        let verb = match self.direction {
            Direction::Credit => "credit",
            Direction::Debit => "debit",
        };
        let request = format!("POST /admin/accounts/{}/{verb} amount={amount}", self.account_id);
        let adjustment = Adjustment {
            account_id: self.account_id,
            direction: self.direction,
            amount,
            request: IdempotentRequest::new(self.admin, self.key.map(Into::into), request),
        };
        let metadata = Metadata { reason: Some(reason), reference, ..self.metadata };
        answer(app, &adjustment, metadata).await
    }
}

async fn answer(app: &Shared, adjustment: &Adjustment, metadata: Metadata) -> Result<Response, Problem> {
    let receipt = app.accounts.adjust(adjustment, metadata).await?;
    let body = Transferred {
        account_id: adjustment.account_id.into(),
        amount: adjustment.amount.into(),
        balance: receipt.balance.into(),
        position: Position(receipt.position),
    };
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    if receipt.replayed {
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}
