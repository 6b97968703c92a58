//! `/admin/accounts`: what users and partners have, and paying in and out.

use super::MAX_REASON;
use crate::app::accounts::{self, Direction, Transfer};
use crate::app::idempotency::Repeatable;
use crate::http::Shared;
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::fields::Fields;
use crate::http::extract::idempotency::{IdempotencyKey, REPLAYED};
use crate::http::extract::path::Id;
use crate::http::extract::values::{line, positive_amount, prose};
use crate::http::problem::Problem;
use crate::http::problem::mapping::no_such_account;
use crate::identity::OwnerKind;
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use domain::{AccountId, Metadata};
use serde_json::{Value, json};

/// The longest reference, in characters.
const MAX_REFERENCE: usize = 200;

/// `GET /admin/accounts/{owner_id}/`
pub(crate) async fn detail(
    State(app): State<Shared>,
    _admin: Admin,
    Id(id): Id<AccountId>,
) -> Result<Json<Value>, Problem> {
    let kind = match app.identity.owner_kind(id.0).await?.ok_or_else(no_such_account)? {
        OwnerKind::User => "user",
        OwnerKind::Partner => "partner",
    };
    let balance = app.log.balance(id).await?.balance;
    Ok(Json(json!({"account_id": id, "owner_id": id, "kind": kind, "balance": balance})))
}

/// `POST /admin/accounts/{owner_id}/credit/`
pub(crate) async fn credit(
    State(app): State<Shared>,
    Admin(admin): Admin,
    context: Context,
    Id(id): Id<AccountId>,
    key: Option<IdempotencyKey>,
    fields: Fields,
) -> Result<Response, Problem> {
    let metadata = context.metadata(admin.actor().to_string());
    let asked = Asked { admin: admin.id(), account_id: id, direction: Direction::Credit, key, metadata };
    asked.carry_out(&app, fields).await
}

/// `POST /admin/accounts/{owner_id}/debit/`
pub(crate) async fn debit(
    State(app): State<Shared>,
    Admin(admin): Admin,
    context: Context,
    Id(id): Id<AccountId>,
    key: Option<IdempotencyKey>,
    fields: Fields,
) -> Result<Response, Problem> {
    let metadata = context.metadata(admin.actor().to_string());
    let asked = Asked { admin: admin.id(), account_id: id, direction: Direction::Debit, key, metadata };
    asked.carry_out(&app, fields).await
}

/// What the path and the headers of a transfer say.
struct Asked {
    admin: uuid::Uuid,
    account_id: AccountId,
    direction: Direction,
    key: Option<IdempotencyKey>,
    metadata: Metadata,
}

impl Asked {
    async fn carry_out(self, app: &Shared, fields: Fields) -> Result<Response, Problem> {
        let (amount, reason, reference) = fields.read_strictly(|fields| {
            (
                fields.required("amount", positive_amount),
                fields.required("reason", prose(1..=MAX_REASON)),
                fields.optional("reference", line(1..=MAX_REFERENCE)),
            )
        })?;
        let verb = match self.direction {
            Direction::Credit => "credit",
            Direction::Debit => "debit",
        };
        let request = format!("POST /admin/accounts/{}/{verb} amount={amount}", self.account_id);
        let transfer = Transfer {
            account_id: self.account_id,
            direction: self.direction,
            amount,
            repeatable: Repeatable::new(self.admin, self.key.map(Into::into), request),
        };
        let metadata = Metadata { reason: Some(reason), reference, ..self.metadata };
        if app.identity.owner_kind(self.account_id.0).await?.is_none() {
            accounts::carried_before(&app.log, &transfer).await?; // a key of another request is told first
            return Err(no_such_account());
        }
        answer(app, &transfer, metadata).await
    }
}

async fn answer(app: &Shared, transfer: &Transfer, metadata: Metadata) -> Result<Response, Problem> {
    let carried = accounts::carry_out(&app.log, transfer, metadata).await?;
    let balance = accounts::balance_after(&app.readers, transfer.account_id, carried).await?;
    let body = json!({
        "account_id": transfer.account_id,
        "amount": transfer.amount,
        "balance": balance,
        "position": carried.position,
    });
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    if carried.balance.is_none() {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}
