//! The table `offers`: a row for each, on sale or not.

use super::{Change, OfferView};
use crate::read_tables::Parameters;
use crate::readers::{Column, moment, money};
use domain::offer::Terms;
use domain::{OfferId, Timestamp};
use sqlx::Row;
use sqlx::postgres::PgRow;

/// What `from_row` reads.
pub(crate) const COLUMNS: &str =
    "position, offer_id, created_at, updated_at, price, duration_days, is_active, name, description";

/// Binds what a page changes, new rows and moved ones.
pub(crate) fn bind(parameters: Parameters, rows: &[Change]) -> Parameters {
    let terms = |row: &Change| row.terms.clone();
    parameters
        .bind(rows.column(|row| row.id.0))
        .bind(rows.column(|row| row.position))
        .bind(rows.column(|row| row.created_at.map(Timestamp::utc)))
        .bind(rows.column(|row| row.updated_at.utc()))
        .bind(rows.column(|row| terms(row).map(|terms| terms.price.decimal())))
        .bind(rows.column(|row| terms(row).map(|terms| terms.duration_days.cast_signed())))
        .bind(rows.column(|row| row.is_active))
        .bind(rows.column(|row| terms(row).map(|terms| terms.name)))
        .bind(rows.column(|row| terms(row).map(|terms| terms.description)))
}

pub(crate) fn from_row(row: &PgRow) -> Result<OfferView, sqlx::Error> {
    Ok(OfferView {
        offer_id: OfferId(row.try_get("offer_id")?),
        terms: Terms {
            name: row.try_get("name")?,
            description: row.try_get("description")?,
            price: money(row, "price")?,
            duration_days: row.try_get::<i32, _>("duration_days")?.cast_unsigned(),
        },
        is_active: row.try_get("is_active")?,
        created_at: moment(row, "created_at")?,
        updated_at: moment(row, "updated_at")?,
        position: row.try_get("position")?,
    })
}
