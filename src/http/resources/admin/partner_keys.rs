//! `/admin/partners/{id}/keys` and `…/webhook-secret`: what a partner calls with, and what its callbacks
//! are signed with. Both are told once, when they are made.

use super::{MAX_REASON, cursor, key, only_reason};
use crate::http::Shared;
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::fields::Fields;
use crate::http::extract::page::PageParams;
use crate::http::extract::path::Id;
use crate::http::extract::query::{Parameters, text_of};
use crate::http::extract::values::parse_uuid;
use crate::http::problem::Problem;
use crate::http::problem::code::Code;
use crate::identity::{KeyId, KeyInfo};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use domain::{PartnerId, Timestamp};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

/// `POST /admin/partners/{id}/keys/`: one more; those before stay good.
pub(crate) async fn create(
    State(app): State<Shared>,
    Admin(admin): Admin,
    Id(partner): Id<PartnerId>,
    fields: Option<Fields>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let by = admin.actor().because(only_reason(fields)?);
    let issued = app.identity.create_key(partner, &by, app.clock.now().utc()).await?;
    let body = json!({"key_id": issued.key_id, "api_key": issued.api_key.expose_secret()});
    Ok((StatusCode::CREATED, Json(body)))
}

/// `GET /admin/partners/{id}/keys/`: revoked ones too.
pub(crate) async fn list_all(
    State(app): State<Shared>,
    _admin: Admin,
    Id(partner): Id<PartnerId>,
    context: Context,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (params, ()) = PageParams::read(parameters, "partner_keys", |_| ())?;
    let after = params.key(cursor)?;
    let page = app.identity.list_keys(partner, after, params.limit as usize).await?;
    let next = page.next.as_ref().map(key);
    Ok(params.answer(&context, page.items.iter().map(shown).collect(), next))
}

/// `DELETE /admin/partners/{id}/keys/{key_id}/?reason=`: refused everywhere within a second.
pub(crate) async fn revoke(
    State(app): State<Shared>,
    Admin(admin): Admin,
    Path((partner, key)): Path<(String, String)>,
    parameters: Parameters,
) -> Result<StatusCode, Problem> {
    let malformed = || Problem::new(Code::MalformedId, "An id in the path is not a UUID");
    let partner = parse_uuid(&partner).map(PartnerId).ok_or_else(malformed)?;
    let key = parse_uuid(&key).map(KeyId).ok_or_else(malformed)?;
    let reason = parameters.read(|parameters| parameters.optional("reason", text_of(MAX_REASON)))?;
    let by = admin.actor().because(reason);
    app.identity.revoke_key(partner, key, &by, app.clock.now().utc()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST /admin/partners/{id}/webhook-secret/`: another one; for a day the one before signs too.
pub(crate) async fn rotate_secret(
    State(app): State<Shared>,
    Admin(admin): Admin,
    Id(partner): Id<PartnerId>,
    fields: Option<Fields>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let by = admin.actor().because(only_reason(fields)?);
    let secret = app.identity.rotate_webhook_secret(partner, &by, app.clock.now().utc()).await?;
    Ok((StatusCode::CREATED, Json(json!({"webhook_secret": secret.expose_secret()}))))
}

fn shown(key: &KeyInfo) -> Value {
    json!({
        "key_id": key.key_id,
        "created_at": Timestamp::new(key.created_at),
        "revoked_at": key.revoked_at.map(Timestamp::new),
        "last_used_at": key.last_used_at.map(Timestamp::new),
    })
}
