//! `/offers`: what can be bought.

use crate::http::Shared;
use crate::http::context::Context;
use crate::http::extract::page::Wanted;
use crate::http::extract::path::Id;
use crate::http::extract::query::Parameters;
use crate::http::problem::Problem;
use crate::http::problem::mapping::no_such_offer;
use crate::identity::Caller;
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use domain::OfferId;
use projections::OfferView;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// `GET /offers/`: those on sale, by name.
pub(crate) async fn list(
    State(app): State<Shared>,
    _caller: Caller,
    context: Context,
    headers: HeaderMap,
    parameters: Parameters,
) -> Result<Response, Problem> {
    let (wanted, ()) = Wanted::read(parameters, "offers", |_| ())?;
    let after = wanted.key(|key| {
        let (id, name) = key.split_once('|')?;
        Some((name.to_owned(), id.parse::<OfferId>().ok()?))
    })?;
    let slice = app.readers.offers_on_sale(after, wanted.limit).await?;
    let next = slice.next.map(|(name, id)| format!("{id}|{name}"));
    let page = wanted.answer(&context, slice.items.iter().map(shown).collect(), next);
    tagged(page, &headers).await
}

/// `GET /offers/{id}/`: on sale or not.
pub(crate) async fn detail(
    State(app): State<Shared>,
    _caller: Caller,
    Id(id): Id<OfferId>,
) -> Result<Json<Value>, Problem> {
    let offer = app.readers.offer(id).await?.ok_or_else(no_such_offer)?;
    Ok(Json(shown(&offer)))
}

/// An offer as everybody sees it.
pub(crate) fn shown(offer: &OfferView) -> Value {
    json!({
        "id": offer.offer_id,
        "name": offer.terms.name,
        "description": offer.terms.description,
        "price": offer.terms.price,
        "duration_days": offer.terms.duration_days,
        "is_active": offer.is_active,
        "created_at": offer.created_at,
        "updated_at": offer.updated_at,
    })
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
