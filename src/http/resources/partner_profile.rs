//! `/partner`: what a partner is here, and where it wants its callbacks.

use super::admin::partners::CallbackUrlRule;
use crate::http::Code;
use crate::http::Shared;
use crate::http::extract::caller::Partner;
use crate::http::extract::fields::Fields;
use crate::http::extract::request::{Request, request};
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::values::Id;
use crate::identity::{self, CallbackUrl, PartnerChange};
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

request! {
    /// What changes; the rest stays.
    strict ChangeProfile {
        /// Where callbacks go: http or https, without a user. Null removes it, and no callbacks are sent.
        callback_url: Option<Option<CallbackUrl>> = erasable(CallbackUrlRule, "https://shop.example/hook"),
    }
}

/// A partner, as it sees itself.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PartnerProfile {
    /// Also the id of the float account.
    id: Id,
    #[schema(example = "Corner Shop")]
    name: String,
    #[schema(required, example = "https://shop.example/hook")]
    callback_url: Option<String>,
    /// Always true: an inactive partner is refused.
    is_active: bool,
}

/// Who you are here
#[utoipa::path(get, path = "/partner", security(("ApiKey" = [])),
    responses((status = 200, description = "The partner.", body = PartnerProfile)),
    extensions(("x-refusals" = json!(refusals(&[Code::PartnerNotFound])))))]
pub(crate) async fn profile(
    State(app): State<Shared>,
    partner: Partner,
) -> Result<Json<PartnerProfile>, Problem> {
    Ok(Json(app.identity.get_partner(partner.id).await?.into()))
}

/// Change where callbacks go
///
/// Callbacks that wait go to the new URL too. A URL that is set again after it answered 410 is called again.
#[utoipa::path(patch, path = "/partner", security(("ApiKey" = [])),
    request_body = ChangeProfile,
    responses((status = 200, description = "The partner as it is now.", body = PartnerProfile)),
    extensions(("x-refusals" = json!(refusals(&[Code::PartnerNotFound])))))]
pub(crate) async fn change_profile(
    State(app): State<Shared>,
    partner: Partner,
    fields: Fields,
) -> Result<Json<PartnerProfile>, Problem> {
    let ChangeProfile { callback_url } = Request::of(fields)?;
    let change = PartnerChange { callback_url, ..PartnerChange::default() };
    let now = app.clock.now().utc();
    Ok(Json(app.identity.update_partner(partner.id, &change, &partner.actor, now).await?.into()))
}

impl From<identity::Partner> for PartnerProfile {
    fn from(partner: identity::Partner) -> Self {
        let identity::Partner { id, name, callback_url, is_active, .. } = partner;
        Self { id: id.into(), name, callback_url, is_active }
    }
}
