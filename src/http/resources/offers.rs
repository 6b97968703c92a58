//! `/offers`: what can be bought.

use crate::http::context::Context;
use crate::http::extract::page::{Page, PageParams};
use crate::http::extract::path;
use crate::http::extract::query::Parameters;
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::values::{Id, Money, Time};
use crate::http::{Code, Shared};
use crate::identity::Caller;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::OfferId;
use projections::OfferView;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

/// What can be bought, for how much, for how long.
#[derive(Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Offer {
    id: Id,
    #[schema(example = "Mobile Month 20 GB")]
    name: String,
    /// May be empty.
    #[schema(example = "20 GB for 30 days")]
    description: String,
    price: Money,
    /// Days of 24 hours.
    #[schema(minimum = 1, maximum = 3650, example = 30)]
    duration_days: u32,
    /// Whether it is on sale.
    is_active: bool,
    created_at: Time,
    updated_at: Time,
}

pub(crate) type OfferPage = Page<Offer>;

/// What is on sale, by name
#[utoipa::path(get, path = "/offers", security(("Bearer" = []), ("ApiKey" = [])),
    params(
        PageParams,
        ("If-None-Match" = String, Header, description = "The `ETag` of an earlier answer.",
            example = "\"5d41402abc4b2a76b9719d911017c592\""),
    ),
    responses(
        (status = 200, description = "Offers on sale.", body = OfferPage, headers(("ETag"))),
        (status = 304, description = "Nothing has changed.", headers(("ETag"))),
    ))]
pub(crate) async fn list(
    State(app): State<Shared>,
    _caller: Caller,
    context: Context,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (params, ()) = PageParams::read(parameters, "offers", |_| ())?;
    let slice = app.catalogue.on_sale(params.after()?, params.limit).await?;
    let page = params.page(&context, slice.map(|view| Offer::from(&view)));
    tagged(Json(page).into_response(), &headers).await
}

/// One offer, on sale or not
#[utoipa::path(get, path = "/offers/{id}", security(("Bearer" = []), ("ApiKey" = [])),
    params(("id" = Id, Path, description = "The offer.")),
    responses((status = 200, description = "The offer.", body = Offer)),
    extensions(("x-refusals" = json!(refusals(&[Code::OfferNotFound])))))]
pub(crate) async fn detail(
    State(app): State<Shared>,
    _caller: Caller,
    path::Id(id): path::Id<OfferId>,
) -> Result<Json<Offer>, Problem> {
    let offer = app.catalogue.find(id).await?;
    Ok(Json(Offer::from(&offer)))
}

impl From<&OfferView> for Offer {
    fn from(view: &OfferView) -> Self {
        Self {
            id: view.offer_id.into(),
            name: view.terms.name.clone(),
            description: view.terms.description.clone(),
            price: view.terms.price.into(),
            duration_days: view.terms.duration_days,
            is_active: view.is_active,
            created_at: view.created_at.into(),
            updated_at: view.updated_at.into(),
        }
    }
}

/// Adds an `ETag` made of the body, and leaves the body out for a client that has it already.
async fn tagged(page: Response, headers: &HeaderMap) -> Result<Response, Problem> {
    let (mut parts, body) = page.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.map_err(|_| Problem::internal())?;
    let tag = format!("\"{}\"", hex(&Sha256::digest(&bytes)[..16]));
    let value = HeaderValue::from_str(&tag).expect("hexadecimal digits in quotes");
    parts.headers.insert(header::ETAG, value);
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if is_known(headers, &tag) {
        parts.headers.remove(header::CONTENT_TYPE);
        parts.headers.remove(header::CONTENT_LENGTH);
        return Ok((StatusCode::NOT_MODIFIED, parts.headers).into_response());
    }
    Ok(Response::from_parts(parts, Body::from(bytes)))
}

/// Whether `If-None-Match` names `tag` (weakly, RFC 9110 13.1.2).
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let named = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    named
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
