//! `/admin/offers`: the catalogue.

use super::MAX_REASON;
use crate::app::catalogue::{Change, MAX_DESCRIPTION, MAX_NAME};
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::fields::Fields;
use crate::http::extract::page::PageParams;
use crate::http::extract::path;
use crate::http::extract::query::{Parameters, boolean};
use crate::http::extract::request::{Request, request};
use crate::http::extract::rules::{Amount, Boolean, Integer, Line, Prose};
use crate::http::json::Json;
use crate::http::openapi::refusals;
use crate::http::problem::Problem;
use crate::http::resources::offers::{Offer, OfferPage};
use crate::http::values::Id;
use crate::http::{Code, Shared};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use domain::offer::{DURATION_DAYS, Terms};
use domain::{Metadata, Money, OfferId};
use uuid::Uuid;

request! {
    /// What can be bought.
    strict CreateOffer {
        /// One line.
        name: String = required(Line(1..=MAX_NAME), "Mobile Month 20 GB"),
        /// Newlines and tabs are allowed.
        description: Option<String> = optional(Prose(0..=MAX_DESCRIPTION), "20 GB for 30 days"),
        price: Money = required(Amount),
        /// Days of 24 hours.
        duration_days: u32 = required(Integer(DURATION_DAYS), 30),
        /// On sale at once, unless false.
        is_active: Option<bool> = optional(Boolean),
        /// Why, in your words; kept.
        reason: Option<String> = optional(Prose(1..=MAX_REASON), "Asked for by the customer"),
    }
}

request! {
    /// What changes; the rest stays.
    strict ChangeOffer {
        /// One line.
        name: Option<String> = change(Line(1..=MAX_NAME), "Mobile Month 20 GB"),
        /// Newlines and tabs are allowed.
        description: Option<String> = change(Prose(0..=MAX_DESCRIPTION), "20 GB for 30 days"),
        price: Option<Money> = change(Amount),
        /// Days of 24 hours.
        duration_days: Option<u32> = change(Integer(DURATION_DAYS), 30),
        /// Whether it is on sale.
        is_active: Option<bool> = change(Boolean),
        /// Why, in your words; kept.
        reason: Option<String> = optional(Prose(1..=MAX_REASON), "Asked for by the customer"),
    }
}

/// All offers, by name, also those off sale
#[utoipa::path(get, path = "/admin/offers", security(("Bearer" = ["admin"])),
    params(
        ("is_active" = bool, Query, description = "Only those on sale, or only those off sale."),
        PageParams,
    ),
    responses((status = 200, description = "The offers.", body = OfferPage)))]
pub(crate) async fn list_all(
    State(app): State<Shared>,
    _admin: Admin,
    context: Context,
    parameters: Parameters,
) -> Result<Json<OfferPage>, Problem> {
    let (params, on_sale) =
        PageParams::read(parameters, "all_offers", |parameters| parameters.optional("is_active", boolean))?;
    let slice = app.catalogue.list(on_sale, params.after()?, params.limit).await?;
    Ok(Json(params.page(&context, slice.map(|view| Offer::from(&view)))))
}

/// Add an offer
#[utoipa::path(post, path = "/admin/offers", security(("Bearer" = ["admin"])), request_body = CreateOffer,
    responses((status = 201, description = "The new offer.", body = Offer, headers(("Location")))),
    extensions(("x-refusals" = json!(refusals(&[Code::Conflict])))))]
pub(crate) async fn create(
    State(app): State<Shared>,
    Admin(admin): Admin,
    context: Context,
    fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let CreateOffer { name, description, price, duration_days, is_active, reason } = Request::of(fields)?;
    let terms = Terms { name, description: description.unwrap_or_default(), price, duration_days };
    let on_sale = is_active.unwrap_or(true);
    let id = OfferId(Uuid::now_v7());
    let metadata = Metadata { reason, ..context.metadata(admin.actor().to_string()) };
    let position = app.catalogue.create(id, terms, on_sale, &metadata).await?;
    let offer = Offer::from(&app.catalogue.read_back(id, position).await?);
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/api/v1/offers/{id}/"))], Json(offer)))
}

/// Change an offer
///
/// A new price applies to new transactions only.
#[utoipa::path(patch, path = "/admin/offers/{id}", security(("Bearer" = ["admin"])),
    params(("id" = Id, Path, description = "The offer.")),
    request_body = ChangeOffer,
    responses((status = 200, description = "The offer as it is now.", body = Offer)),
    extensions(("x-refusals" = json!(refusals(&[Code::OfferNotFound, Code::Conflict])))))]
pub(crate) async fn change(
    State(app): State<Shared>,
    Admin(admin): Admin,
    context: Context,
    path::Id(id): path::Id<OfferId>,
    fields: Fields,
) -> Result<Json<Offer>, Problem> {
    let ChangeOffer { name, description, price, duration_days, is_active, reason } = Request::of(fields)?;
    let change = Change { name, description, price, duration_days, is_active };
    let metadata = Metadata { reason, ..context.metadata(admin.actor().to_string()) };
    let position = app.catalogue.change(id, &change, &metadata).await?;
    Ok(Json(Offer::from(&app.catalogue.read_back(id, position).await?)))
}
