//! The table `subscriptions`: a row for each.

use super::{Change, SubscriptionView};
use crate::Error;
use crate::readers::{Column, moment};
use domain::{OfferId, SubscriptionId, Timestamp, TransactionId, UserId};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

/// What `from_row` reads.
pub(crate) const COLUMNS: &str = "created_position, position, subscription_id, user_id, offer_id, \
    transaction_id, activation_date, expiration_date, announced, expired, offer_name";

/// Writes what a page changes: new rows in one statement, moved ones in another. After the
/// transactions, from whose rows a new subscription takes the offer's name.
pub(crate) async fn write(connection: &mut PgConnection, changes: &[Change]) -> Result<(), Error> {
    let (begun, moved): (Vec<_>, Vec<_>) = changes.iter().partition(|change| change.activated.is_some());
    // The name comes from the transaction's row, in SQL.
    let begun: Vec<_> = begun.into_iter().filter_map(|change| change.to_view("")).collect();
    if !begun.is_empty() {
        expect_all(insert(connection, &begun).await?, begun.len())?;
    }
    if !moved.is_empty() {
        expect_all(update(connection, &moved).await?, moved.len())?;
    }
    Ok(())
}

async fn insert(connection: &mut PgConnection, rows: &[SubscriptionView]) -> Result<u64, Error> {
    let done = sqlx::query(include_str!("insert.sql"))
        .bind(rows.column(|row| row.created_position))
        .bind(rows.column(|row| row.position))
        .bind(rows.column(|row| row.subscription_id.0))
        .bind(rows.column(|row| row.user_id.0))
        .bind(rows.column(|row| row.offer_id.0))
        .bind(rows.column(|row| row.transaction_id.0))
        .bind(rows.column(|row| row.activation_date.utc()))
        .bind(rows.column(|row| row.expiration_date.utc()))
        .bind(rows.column(|row| row.announced))
        .bind(rows.column(|row| row.expired))
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

async fn update(connection: &mut PgConnection, rows: &[&Change]) -> Result<u64, Error> {
    let done = sqlx::query(include_str!("update.sql"))
        .bind(rows.column(|row| row.id.0))
        .bind(rows.column(|row| row.position))
        .bind(rows.column(|row| row.expiration_date.map(Timestamp::utc)))
        .bind(rows.column(|row| row.announced))
        .bind(rows.column(|row| row.expired))
        .execute(connection)
        .await?;
    Ok(done.rows_affected())
}

fn expect_all(written: u64, expected: usize) -> Result<(), Error> {
    match written == expected as u64 {
        true => Ok(()),
        false => Err(Error::Lost("a subscription that changes, or its transaction, has no row")),
    }
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
