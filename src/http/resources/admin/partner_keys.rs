//! `/admin/partners/{id}/keys` and `…/webhook-secret`: what a partner calls with, and what its callbacks
//! are signed with. Both are told once, when they are made.

use super::{MAX_REASON, Reason, only_reason};
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::fields::Fields;
use crate::http::extract::page::{Page, PageParams};
use crate::http::extract::path;
use crate::http::extract::query::{Parameters, text_of};
use crate::http::extract::values::parse_uuid;
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::values::{Id, Time};
use crate::http::{Code, Shared};
use crate::identity::{IssuedKey, KeyId, KeyInfo};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use domain::PartnerId;
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use utoipa::ToSchema;

/// A key, shown once.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    key_id: Id,
    #[schema(example = "ofk_Ab3dEf6hIj9lMn2pQr5tUv8xYz1")]
    api_key: String,
}

/// What is known of a key.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    key_id: Id,
    created_at: Time,
    #[schema(required, example = json!(null))]
    revoked_at: Option<Time>,
    /// To the minute.
    #[schema(required)]
    last_used_at: Option<Time>,
}

/// A secret, shown once.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewSecret {
    #[schema(example = "whsec_MDEyMzQ1Njc4OWFiY2RlZg==")]
    webhook_secret: String,
}

pub(crate) type KeyPage = Page<Key>;

/// Add a key
///
/// It is shown this once; earlier keys stay good.
#[utoipa::path(post, path = "/admin/partners/{id}/keys", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The partner.")),
    request_body = Option<Reason>,
    responses((status = 201, description = "The new key.", body = NewKey)),
    extensions(("x-refusals" = json!(refusals(&[Code::PartnerNotFound, Code::Conflict])))))]
pub(crate) async fn create(
    State(app): State<Shared>,
    Admin(admin): Admin,
    path::Id(partner): path::Id<PartnerId>,
    fields: Option<Fields>,
) -> Result<(StatusCode, Json<NewKey>), Problem> {
    let by = admin.actor().because(only_reason(fields)?);
    let issued = app.identity.create_key(partner, &by, app.clock.now().utc()).await?;
    Ok((StatusCode::CREATED, Json(issued.into())))
}

/// Keys, newest first
#[utoipa::path(get, path = "/admin/partners/{id}/keys", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The partner."), PageParams),
    responses((status = 200, description = "Keys, revoked ones too.", body = KeyPage)),
    extensions(("x-refusals" = json!(refusals(&[Code::PartnerNotFound])))))]
pub(crate) async fn list_all(
    State(app): State<Shared>,
    _admin: Admin,
    path::Id(partner): path::Id<PartnerId>,
    context: Context,
    parameters: Parameters,
) -> Result<Json<KeyPage>, Problem> {
    let (params, ()) = PageParams::read(parameters, "partner_keys", |_| ())?;
    let after = params.after()?;
    let slice = app.identity.list_keys(partner, after, params.limit).await?;
    Ok(Json(params.page(&context, slice.map(|key| Key::from(&key)))))
}

/// Revoke a key
///
/// It is refused everywhere within a second.
#[utoipa::path(delete, path = "/admin/partners/{id}/keys/{key_id}", security(("Bearer" = ["admin"])),
    params(
        ("id" = Id, Path, description = "The partner."),
        ("key_id" = Id, Path, description = "The key."),
        ("reason" = String, Query, description = "Why; kept.", max_length = 500, format = "line",
            pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"),
    ),
    responses((status = 204, description = "Revoked.")),
    extensions(("x-refusals" = json!(refusals(&[Code::PartnerNotFound, Code::KeyNotFound])))))]
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

/// Replace the secret that signs callbacks
///
/// It is shown this once. For a day the previous one signs too.
#[utoipa::path(post, path = "/admin/partners/{id}/webhook-secret", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The partner.")),
    request_body = Option<Reason>,
    responses((status = 201, description = "The new secret.", body = NewSecret)),
    extensions(("x-refusals" = json!(refusals(&[Code::PartnerNotFound])))))]
pub(crate) async fn rotate_secret(
    State(app): State<Shared>,
    Admin(admin): Admin,
    path::Id(partner): path::Id<PartnerId>,
    fields: Option<Fields>,
) -> Result<(StatusCode, Json<NewSecret>), Problem> {
    let by = admin.actor().because(only_reason(fields)?);
    let secret = app.identity.rotate_webhook_secret(partner, &by, app.clock.now().utc()).await?;
    Ok((StatusCode::CREATED, Json(secret.into())))
}

impl From<IssuedKey> for NewKey {
    fn from(issued: IssuedKey) -> Self {
        Self { key_id: issued.key_id.into(), api_key: issued.api_key.expose_secret().to_owned() }
    }
}

impl From<SecretString> for NewSecret {
    fn from(secret: SecretString) -> Self {
        Self { webhook_secret: secret.expose_secret().to_owned() }
    }
}

impl From<&KeyInfo> for Key {
    fn from(key: &KeyInfo) -> Self {
        Self {
            key_id: key.key_id.into(),
            created_at: key.created_at.into(),
            revoked_at: key.revoked_at.map(Into::into),
            last_used_at: key.last_used_at.map(Into::into),
        }
    }
}
