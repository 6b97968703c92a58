//! `/admin/accounts`: what users and partners have, and paying in and out.

use super::MAX_REASON;
use crate::app::accounts::{Adjustment, Direction};
use crate::app::idempotency::IdempotentRequest;
use crate::http::Shared;
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::fields::Fields;
use crate::http::extract::idempotency::IdempotencyKeyHeader;
use crate::http::extract::path::Id;
use crate::http::extract::values::{line, positive_amount, prose};
use crate::http::headers::IDEMPOTENT_REPLAYED;
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
    let kind = match app.accounts.owner_kind(id).await?.ok_or_else(no_such_account)? {
        OwnerKind::User => "user",
        OwnerKind::Partner => "partner",
    };
    let balance = app.accounts.balance(id).await?.balance;
    Ok(Json(json!({"account_id": id, "owner_id": id, "kind": kind, "balance": balance})))
}

/// `POST /admin/accounts/{owner_id}/credit/`
pub(crate) async fn credit(
    State(app): State<Shared>,
    Admin(admin): Admin,
    context: Context,
    Id(id): Id<AccountId>,
    key: Option<IdempotencyKeyHeader>,
    fields: Fields,
) -> Result<Response, Problem> {
    let metadata = context.metadata(admin.actor().to_string());
    let asked = Asked { admin: admin.id(), account_id: id, direction: Direction::Credit, key, metadata };
    asked.adjust(&app, fields).await
}

/// `POST /admin/accounts/{owner_id}/debit/`
pub(crate) async fn debit(
    State(app): State<Shared>,
    Admin(admin): Admin,
    context: Context,
    Id(id): Id<AccountId>,
    key: Option<IdempotencyKeyHeader>,
    fields: Fields,
) -> Result<Response, Problem> {
    let metadata = context.metadata(admin.actor().to_string());
    let asked = Asked { admin: admin.id(), account_id: id, direction: Direction::Debit, key, metadata };
    asked.adjust(&app, fields).await
}

/// What the path and the headers say.
struct Asked {
    admin: uuid::Uuid,
    account_id: AccountId,
    direction: Direction,
    key: Option<IdempotencyKeyHeader>,
    metadata: Metadata,
}

impl Asked {
    async fn adjust(self, app: &Shared, fields: Fields) -> Result<Response, Problem> {
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
    let body = json!({
        "account_id": adjustment.account_id,
        "amount": adjustment.amount,
        "balance": receipt.balance,
        "position": receipt.position,
    });
    let mut response = (StatusCode::CREATED, Json(body)).into_response();
    if receipt.replayed {
        response.headers_mut().insert(IDEMPOTENT_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}
