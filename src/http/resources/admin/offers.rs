//! `/admin/offers`: the catalogue.

use super::reason;
use crate::app::catalogue::{Change, MAX_DESCRIPTION, MAX_NAME};
use crate::http::Shared;
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::fields::Fields;
use crate::http::extract::path::Id;
use crate::http::extract::values::{amount, boolean, integer, line, prose};
use crate::http::problem::Problem;
use crate::http::resources::offers::Offer;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use domain::offer::{DURATION_DAYS, Terms};
use domain::{Metadata, OfferId};
use uuid::Uuid;

/// `POST /admin/offers/`
pub(crate) async fn create(
    State(app): State<Shared>,
    Admin(admin): Admin,
    context: Context,
    fields: Fields,
) -> Result<impl IntoResponse, Problem> {
    let (terms, on_sale, reason) = fields.read_strictly(|fields| {
        let terms = Terms {
            name: fields.required("name", line(1..=MAX_NAME)),
            description: fields.optional("description", prose(0..=MAX_DESCRIPTION)).unwrap_or_default(),
            price: fields.required("price", amount),
            duration_days: fields.required("duration_days", integer(DURATION_DAYS)),
        };
        (terms, fields.optional("is_active", boolean).unwrap_or(true), reason(fields))
    })?;
    let id = OfferId(Uuid::now_v7());
    let metadata = Metadata { reason, ..context.metadata(admin.actor().to_string()) };
    let position = app.catalogue.create(id, terms, on_sale, &metadata).await?;
    let offer = Offer::from(&app.catalogue.read_back(id, position).await?);
    Ok((StatusCode::CREATED, [(header::LOCATION, format!("/api/v1/offers/{id}/"))], Json(offer)))
}

/// `PATCH /admin/offers/{id}/`
pub(crate) async fn change(
    State(app): State<Shared>,
    Admin(admin): Admin,
    context: Context,
    Id(id): Id<OfferId>,
    fields: Fields,
) -> Result<Json<Offer>, Problem> {
    let (change, reason) = fields.read_strictly(|fields| {
        let change = Change {
            name: fields.change("name", line(1..=MAX_NAME)),
            description: fields.change("description", prose(0..=MAX_DESCRIPTION)),
            price: fields.change("price", amount),
            duration_days: fields.change("duration_days", integer(DURATION_DAYS)),
            is_active: fields.change("is_active", boolean),
        };
        (change, reason(fields))
    })?;
    let metadata = Metadata { reason, ..context.metadata(admin.actor().to_string()) };
    let position = app.catalogue.change(id, &change, &metadata).await?;
    Ok(Json(Offer::from(&app.catalogue.read_back(id, position).await?)))
}
