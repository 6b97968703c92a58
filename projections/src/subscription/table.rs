//! The table `subscriptions`: a row for each.

use super::{Change, SubscriptionView};
use crate::read_tables::Parameters;
use crate::readers::{Column, moment};
use domain::{OfferId, SubscriptionId, Timestamp, TransactionId, UserId};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::collections::HashMap;

/// What `from_row` reads.
pub(crate) const COLUMNS: &str = "created_position, position, subscription_id, user_id, offer_id, \
    transaction_id, activation_date, expiration_date, announced, expired, offer_name";

/// Binds what a page changes: new rows, then moved ones. `requested` are the names of the offers that were bought by
/// transactions of the same page; of the others the rows are there.
pub(crate) fn bind(
    parameters: Parameters,
    changes: &[Change],
    requested: &HashMap<TransactionId, String>,
) -> Parameters {
    let (begun, moved): (Vec<_>, Vec<_>) = changes.iter().partition(|change| change.activated.is_some());
    let begun: Vec<_> = begun.into_iter().filter_map(|change| change.to_view("")).collect();
    parameters
        .bind(begun.column(|row| row.created_position))
        .bind(begun.column(|row| row.position))
        .bind(begun.column(|row| row.subscription_id.0))
        .bind(begun.column(|row| row.user_id.0))
        .bind(begun.column(|row| row.offer_id.0))
        .bind(begun.column(|row| row.transaction_id.0))
        .bind(begun.column(|row| row.activation_date.utc()))
        .bind(begun.column(|row| row.expiration_date.utc()))
        .bind(begun.column(|row| row.announced))
        .bind(begun.column(|row| row.expired))
        .bind(begun.column(|row| requested.get(&row.transaction_id).map(String::as_str)))
        .bind(moved.column(|row| row.id.0))
        .bind(moved.column(|row| row.position))
        .bind(moved.column(|row| row.expiration_date.map(Timestamp::utc)))
        .bind(moved.column(|row| row.announced))
        .bind(moved.column(|row| row.expired))
}

pub(crate) fn from_row(row: &PgRow) -> Result<SubscriptionView, sqlx::Error> {
    Ok(SubscriptionView {
        subscription_id: SubscriptionId(row.try_get("subscription_id")?),
        user_id: UserId(row.try_get("user_id")?),
        offer_id: OfferId(row.try_get("offer_id")?),
        offer_name: row.try_get("offer_name")?,
        transaction_id: TransactionId(row.try_get("transaction_id")?),
        activation_date: moment(row, "activation_date")?,
        expiration_date: moment(row, "expiration_date")?,
        announced: row.try_get("announced")?,
        expired: row.try_get("expired")?,
        created_position: row.try_get("created_position")?,
        position: row.try_get("position")?,
    })
}
