//! `/admin/offers`: the catalogue.

use super::reason;
use crate::app::catalogue::{self, Change, MAX_DESCRIPTION, MAX_NAME};
use crate::http::Shared;
use crate::http::context::Context;
use crate::http::extract::caller::Admin;
use crate::http::extract::fields::Fields;
use crate::http::extract::path::Id;
use crate::http::extract::values::{amount, boolean, integer, line, prose};
use crate::http::problem::Problem;
use crate::http::problem::mapping::no_such_offer;
use crate::http::resources::offers::Offer;
use crate::telemetry::chain;
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use domain::offer::{DURATION_DAYS, Terms};
use domain::{Metadata, OfferId};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// How long the answer waits until everybody reads what was written.
const READ_BACK: Duration = Duration::from_secs(5);

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
    let position = catalogue::create(&app.log, id, terms, on_sale, &metadata).await?;
    let offer = read_back(&app, id, position).await?;
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
    let position = catalogue::change(&app.log, id, &change, &metadata).await?;
    Ok(Json(read_back(&app, id, position).await?))
}

/// The offer as the log has it, once the read tables have it too. When they are slow the answer comes
/// anyway: it is written, and saying anything else would make the client write it twice.
async fn read_back(app: &Shared, id: OfferId, position: Option<i64>) -> Result<Offer, Problem> {
    if let Some(position) = position {
        let reached = app.readers.checkpoint().wait_for(position, Instant::now() + READ_BACK).await;
        if let Err(error) = reached {
            tracing::warn!(
                error = %chain(&error),
                "an offer was changed but is not read back yet"
            );
        }
    }
    Ok(Offer::from(&catalogue::as_logged(&app.log, id).await?.ok_or_else(no_such_offer)?))
}
