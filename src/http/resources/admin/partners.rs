//! `/admin/partners`: systems that sell for people.

use super::{cursor, key, reason};
use crate::http::Shared;
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::fields::Fields;
use crate::http::extract::page::PageParams;
use crate::http::extract::path::Id;
use crate::http::extract::query::Parameters;
use crate::http::extract::values::{Expected, boolean, line};
use crate::http::problem::Problem;
use crate::identity::{CallbackUrl, Partner, PartnerChange};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use domain::{Metadata, PartnerId, Timestamp};
use secrecy::ExposeSecret;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The longest name, in characters.
const MAX_NAME: usize = 150;
/// The longest URL, in characters.
const MAX_URL: usize = 2048;

/// `POST /admin/partners/`: with a first key and a secret, which are told this once.
pub(crate) async fn create(
    State(app): State<Shared>,
    Admin(admin): Admin,
    context: Context,
    fields: Fields,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let (name, url, reason) = fields.read_strictly(|fields| {
        let name = fields.required("name", line(1..=MAX_NAME));
        (name, fields.optional("callback_url", callback_url), reason(fields))
    })?;
    let metadata = Metadata { reason: reason.clone(), ..context.metadata(admin.actor().to_string()) };
    let by = admin.actor().because(reason);
    let new = app.registration.create_partner(&name, url.as_ref(), &by, &metadata).await?;
    let body = json!({
        "id": new.partner.id,
        "name": new.partner.name,
        "callback_url": new.partner.callback_url,
        "api_key": new.key.api_key.expose_secret(),
        "webhook_secret": new.webhook_secret.expose_secret(),
    });
    Ok((StatusCode::CREATED, Json(body)))
}

/// `GET /admin/partners/`
pub(crate) async fn list_all(
    State(app): State<Shared>,
    _admin: Admin,
    context: Context,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (params, ()) = PageParams::read(parameters, "partners", |_| ())?;
    let after = params.key(cursor)?;
    let page = app.identity.list_partners(after, params.limit as usize).await?;
    let next = page.next.as_ref().map(key);
    Ok(params.answer(&context, page.items.iter().map(shown).collect(), next))
}

/// `GET /admin/partners/{id}/`
pub(crate) async fn detail(
    State(app): State<Shared>,
    _admin: Admin,
    Id(id): Id<PartnerId>,
) -> Result<Json<Value>, Problem> {
    Ok(Json(shown(&app.identity.get_partner(id).await?)))
}

/// `PATCH /admin/partners/{id}/`: `"callback_url": null` takes the URL away.
pub(crate) async fn change(
    State(app): State<Shared>,
    Admin(admin): Admin,
    Id(id): Id<PartnerId>,
    fields: Fields,
) -> Result<Json<Value>, Problem> {
    let (change, reason) = fields.read_strictly(|fields| {
        let change = PartnerChange {
            name: fields.change("name", line(1..=MAX_NAME)),
            callback_url: fields.change_or_clear("callback_url", callback_url),
            is_active: fields.change("is_active", boolean),
        };
        (change, reason(fields))
    })?;
    let (by, now) = (admin.actor().because(reason), app.clock.now().utc());
    Ok(Json(shown(&app.identity.update_partner(id, &change, &by, now).await?)))
}

fn shown(partner: &Partner) -> Value {
    json!({
        "id": partner.id,
        "name": partner.name,
        "callback_url": partner.callback_url,
        "callback_disabled_at": partner.callback_disabled_at.map(Timestamp::new),
        "is_active": partner.is_active,
        "created_at": Timestamp::new(partner.created_at),
    })
}

/// A URL that could be called; where it leads is judged when it is.
fn callback_url(value: &RawValue) -> Result<CallbackUrl, Expected> {
    let url = line(1..=MAX_URL)(value)?;
    CallbackUrl::parse(&url).map_err(|_| "must be an http or https URL without a user".to_owned())
}
