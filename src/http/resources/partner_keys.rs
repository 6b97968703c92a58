//! `/partner/keys` and `/partner/webhook-secret`: a partner changes its secrets by itself, as an administrator
//! does for it.

use super::admin::partner_keys::{Key, KeyPage, NewKey, NewSecret};
use super::admin::{MAX_REASON, Reason, only_reason};
use crate::http::context::Context;
use crate::http::extract::caller::Partner;
use crate::http::extract::fields::Fields;
use crate::http::extract::page::PageParams;
use crate::http::extract::path;
use crate::http::extract::query::{Parameters, text_of};
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::values::Id;
use crate::http::{Code, Shared};
use crate::identity::KeyId;
use axum::extract::State;
use axum::http::StatusCode;

/// Your keys, newest first
#[utoipa::path(get, path = "/partner/keys", security(("ApiKey" = [])), params(PageParams),
    responses((status = 200, description = "Keys, revoked ones too.", body = KeyPage)),
    extensions(("x-refusals" = json!(refusals(&[Code::PartnerNotFound])))))]
pub(crate) async fn list_keys(
    State(app): State<Shared>,
    partner: Partner,
    context: Context,
    parameters: Parameters,
) -> Result<Json<KeyPage>, Problem> {
    let (params, ()) = PageParams::read(parameters, "partner_keys", |_| ())?;
    let after = params.after()?;
    let slice = app.identity.list_keys(partner.id, after, params.limit).await?;
    Ok(Json(params.page(&context, slice.map(|key| Key::from(&key)))))
}

/// Add a key
///
/// It is shown this once; earlier keys stay good.
#[utoipa::path(post, path = "/partner/keys", security(("ApiKey" = [])),
    request_body = Option<Reason>,
    responses((status = 201, description = "The new key.", body = NewKey)),
    extensions(("x-refusals" = json!(refusals(&[Code::PartnerNotFound, Code::Conflict])))))]
pub(crate) async fn create_key(
    State(app): State<Shared>,
    partner: Partner,
    fields: Option<Fields>,
) -> Result<(StatusCode, Json<NewKey>), Problem> {
    let by = partner.actor.because(only_reason(fields)?);
    let issued = app.identity.create_key(partner.id, &by, app.clock.now().utc()).await?;
    Ok((StatusCode::CREATED, Json(issued.into())))
}

/// Revoke a key
///
/// It is refused everywhere within a second. The key that sends this request cannot be revoked: use another.
#[utoipa::path(delete, path = "/partner/keys/{key_id}", security(("ApiKey" = [])),
    params(
        ("key_id" = Id, Path, description = "The key."),
        ("reason" = String, Query, description = "Why; kept.", max_length = 500, format = "line",
            pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"),
    ),
    responses((status = 204, description = "Revoked.")),
    extensions(("x-refusals" = json!(refusals(&[Code::PartnerNotFound, Code::KeyNotFound, Code::Conflict])))))]
pub(crate) async fn revoke_key(
    State(app): State<Shared>,
    partner: Partner,
    path::Id(key): path::Id<KeyId>,
    parameters: Parameters,
) -> Result<StatusCode, Problem> {
    let reason = parameters.read(|parameters| parameters.optional("reason", text_of(MAX_REASON)))?;
    if key == partner.key {
        let detail = "This key sends the request; revoke it with another key";
        return Err(Problem::new(Code::Conflict, detail));
    }
    let by = partner.actor.because(reason);
    app.identity.revoke_key(partner.id, key, &by, app.clock.now().utc()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replace the secret that signs your callbacks
///
/// It is shown this once. For a day the previous one signs too.
#[utoipa::path(post, path = "/partner/webhook-secret", security(("ApiKey" = [])),
    request_body = Option<Reason>,
    responses((status = 201, description = "The new secret.", body = NewSecret)),
    extensions(("x-refusals" = json!(refusals(&[Code::PartnerNotFound])))))]
pub(crate) async fn rotate_secret(
    State(app): State<Shared>,
    partner: Partner,
    fields: Option<Fields>,
) -> Result<(StatusCode, Json<NewSecret>), Problem> {
    let by = partner.actor.because(only_reason(fields)?);
    let secret = app.identity.rotate_webhook_secret(partner.id, &by, app.clock.now().utc()).await?;
    Ok((StatusCode::CREATED, Json(secret.into())))
}
