//! `/admin/partners`: systems that sell for people.

use super::MAX_REASON;
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::fields::Fields;
use crate::http::extract::page::{Page, PageParams};
use crate::http::extract::path;
use crate::http::extract::query::Parameters;
use crate::http::extract::request::{Request, request};
use crate::http::extract::rules::{Boolean, Line, Prose, Rule};
use crate::http::extract::values::Expected;
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::values::{Id, Time};
use crate::http::{Code, Shared};
use crate::identity::{self, CallbackUrl};
use axum::extract::State;
use axum::http::StatusCode;
use domain::{Metadata, PartnerId};
use secrecy::ExposeSecret;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;

/// The longest name, in characters.
const MAX_NAME: usize = 150;
/// The longest URL, in characters.
const MAX_URL: usize = 2048;

/// A URL that could be called; where it leads is judged when it is called.
pub(crate) struct CallbackUrlRule;

impl Rule for CallbackUrlRule {
    type Value = CallbackUrl;

    fn parse(&self, value: &RawValue) -> Result<CallbackUrl, Expected> {
        let url = Line(1..=MAX_URL).parse(value)?;
        CallbackUrl::parse(&url).map_err(|_| "must be an http or https URL without a user".to_owned())
    }

    fn schema(&self) -> Value {
        json!({"type": "string", "minLength": 1, "maxLength": MAX_URL, "pattern": "^https?://"})
    }
}

request! {
    /// A system that sells to users.
    strict CreatePartner {
        /// One line.
        name: String = required(Line(1..=MAX_NAME), "Corner Shop"),
        /// Where callbacks go: http or https, without a user.
        callback_url: Option<CallbackUrl> = optional(CallbackUrlRule, "https://shop.example/hook"),
        /// Why, in your words; kept.
        reason: Option<String> = optional(Prose(1..=MAX_REASON), "Contract 2026-17"),
    }
}

request! {
    /// What changes; the rest stays.
    strict ChangePartner {
        /// One line.
        name: Option<String> = change(Line(1..=MAX_NAME), "Corner Shop"),
        /// Null takes it away.
        callback_url: Option<Option<CallbackUrl>> = erasable(CallbackUrlRule, "https://shop.example/hook"),
        is_active: Option<bool> = change(Boolean),
        /// Why, in your words; kept.
        reason: Option<String> = optional(Prose(1..=MAX_REASON), "They moved"),
    }
}

/// A new partner, with what it is told once.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PartnerWithKey {
    id: Id,
    #[schema(example = "Corner Shop")]
    name: String,
    #[schema(required, example = "https://shop.example/hook")]
    callback_url: Option<String>,
    #[schema(example = "ofk_Ab3dEf6hIj9lMn2pQr5tUv8xYz1")]
    api_key: String,
    #[schema(example = "whsec_MDEyMzQ1Njc4OWFiY2RlZg==")]
    webhook_secret: String,
}

/// A system that sells to users.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Partner {
    id: Id,
    #[schema(example = "Corner Shop")]
    name: String,
    #[schema(required, example = "https://shop.example/hook")]
    callback_url: Option<String>,
    /// When the endpoint said that it is gone (410).
    #[schema(required, example = json!(null))]
    callback_disabled_at: Option<Time>,
    is_active: bool,
    created_at: Time,
}

type PartnerPage = Page<Partner>;

/// Add a partner
///
/// The key and the secret are shown this once. The float account begins with 0.00.
#[utoipa::path(post, path = "/admin/partners", security(("Bearer" = ["admin"])), request_body = CreatePartner,
    responses((status = 201, description = "The new partner.", body = PartnerWithKey)),
    extensions(("x-refusals" = json!(refusals(&[Code::Conflict])))))]
pub(crate) async fn create(
    State(app): State<Shared>,
    Admin(admin): Admin,
    context: Context,
    fields: Fields,
) -> Result<(StatusCode, Json<PartnerWithKey>), Problem> {
    let CreatePartner { name, callback_url, reason } = Request::of(fields)?;
    let metadata = Metadata { reason: reason.clone(), ..context.metadata(admin.actor().to_string()) };
    let by = admin.actor().because(reason);
    let new = app.registration.create_partner(&name, callback_url.as_ref(), &by, &metadata).await?;
    let body = PartnerWithKey {
        id: new.partner.id.into(),
        name: new.partner.name,
        callback_url: new.partner.callback_url,
        api_key: new.key.api_key.expose_secret().to_owned(),
        webhook_secret: new.webhook_secret.expose_secret().to_owned(),
    };
    Ok((StatusCode::CREATED, Json(body)))
}

/// Partners, newest first
#[utoipa::path(get, path = "/admin/partners", security(("Bearer" = ["admin"])), params(PageParams),
    responses((status = 200, description = "Partners.", body = PartnerPage)))]
pub(crate) async fn list_all(
    State(app): State<Shared>,
    _admin: Admin,
    context: Context,
    parameters: Parameters,
) -> Result<Json<PartnerPage>, Problem> {
    let (params, ()) = PageParams::read(parameters, "partners", |_| ())?;
    let after = params.after()?;
    let slice = app.identity.list_partners(after, params.limit).await?;
    Ok(Json(params.page(&context, slice.map(|partner| Partner::from(&partner)))))
}

/// One partner
#[utoipa::path(get, path = "/admin/partners/{id}", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The partner.")),
    responses((status = 200, description = "The partner.", body = Partner)),
    extensions(("x-refusals" = json!(refusals(&[Code::PartnerNotFound])))))]
pub(crate) async fn detail(
    State(app): State<Shared>,
    _admin: Admin,
    path::Id(id): path::Id<PartnerId>,
) -> Result<Json<Partner>, Problem> {
    Ok(Json(Partner::from(&app.identity.get_partner(id).await?)))
}

/// Change a partner
#[utoipa::path(patch, path = "/admin/partners/{id}", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The partner.")),
    request_body = ChangePartner,
    responses((status = 200, description = "The partner as it is now.", body = Partner)),
    extensions(("x-refusals" = json!(refusals(&[Code::PartnerNotFound])))))]
pub(crate) async fn change(
    State(app): State<Shared>,
    Admin(admin): Admin,
    path::Id(id): path::Id<PartnerId>,
    fields: Fields,
) -> Result<Json<Partner>, Problem> {
    let ChangePartner { name, callback_url, is_active, reason } = Request::of(fields)?;
    let change = identity::PartnerChange { name, callback_url, is_active };
    let (by, now) = (admin.actor().because(reason), app.clock.now().utc());
    Ok(Json(Partner::from(&app.identity.update_partner(id, &change, &by, now).await?)))
}

impl From<&identity::Partner> for Partner {
    fn from(partner: &identity::Partner) -> Self {
        Self {
            id: partner.id.into(),
            name: partner.name.clone(),
            callback_url: partner.callback_url.clone(),
            callback_disabled_at: partner.callback_disabled_at.map(Into::into),
            is_active: partner.is_active,
            created_at: partner.created_at.into(),
        }
    }
}
