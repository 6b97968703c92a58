//! The table `transactions`: a row for each.

use super::{Change, Progress, TransactionView};
use crate::read_tables::Parameters;
use crate::readers::{Column, moment, money};
use domain::transaction::ActivationRequested;
use domain::{AccountId, OfferId, PartnerId, SubscriptionId, TransactionId, UserId};
use sqlx::Row;
use sqlx::postgres::PgRow;
use std::str::FromStr;
use uuid::Uuid;

/// What `from_row` reads. By name, so that statements that are prepared when the tables are rebuilt with
/// one more column go on.
pub(crate) const COLUMNS: &str = "created_position, position, created_at, updated_at, completed_at, \
    refunded_at, transaction_id, user_id, account_id, partner_id, subscription_id, offer_id, \
    duration_days, attempts, amount, kind, status, offer_name, reference, partner_reference, \
    external_reference, error_code, error_message, pending_reason, callback_url";

/// Binds what a page changes: new rows, then moved ones.
pub(crate) fn bind(parameters: Parameters, changes: Vec<Change>) -> Parameters {
    let (begun, moved): (Vec<_>, Vec<_>) = changes.into_iter().partition(|change| change.requested.is_some());
    let begun: Vec<_> = begun.into_iter().filter_map(Change::into_view).collect();
    let moved: Vec<_> = moved.into_iter().map(|change| (change.id, change.progress)).collect();
    bind_moved(bind_begun(parameters, &begun), &moved)
}

fn bind_begun(parameters: Parameters, rows: &[TransactionView]) -> Parameters {
    parameters
        .bind(rows.column(|row| row.created_position))
        .bind(rows.column(|row| row.position))
        .bind(rows.column(|row| row.created_at.utc()))
        .bind(rows.column(|row| row.updated_at.utc()))
        .bind(rows.column(|row| row.completed_at.map(domain::Timestamp::utc)))
        .bind(rows.column(|row| row.refunded_at.map(domain::Timestamp::utc)))
        .bind(rows.column(|row| row.transaction_id.0))
        .bind(rows.column(|row| row.request.user_id.0))
        .bind(rows.column(|row| row.request.account_id.0))
        .bind(rows.column(|row| row.request.partner_id.map(|id| id.0)))
        .bind(rows.column(|row| row.request.subscription_id.map(|id| id.0)))
        .bind(rows.column(|row| row.request.offer_id.0))
        .bind(rows.column(|row| row.request.duration_days.cast_signed()))
        .bind(rows.column(|row| row.attempts.cast_signed()))
        .bind(rows.column(|row| row.request.amount.decimal()))
        .bind(rows.column(|row| row.request.kind.as_ref()))
        .bind(rows.column(|row| row.status.as_ref()))
        .bind(rows.column(|row| row.request.offer_name.as_str()))
        .bind(rows.column(|row| row.request.reference.as_deref()))
        .bind(rows.column(|row| row.request.partner_reference.as_deref()))
        .bind(rows.column(|row| row.external_reference.as_deref()))
        .bind(rows.column(|row| row.error_code.as_deref()))
        .bind(rows.column(|row| row.error_message.as_deref()))
        .bind(rows.column(|row| row.pending_reason.as_deref()))
        .bind(rows.column(|row| row.callback_url.as_deref()))
}

fn bind_moved(parameters: Parameters, rows: &[(TransactionId, Progress)]) -> Parameters {
    parameters
        .bind(rows.column(|(id, _)| id.0))
        .bind(rows.column(|(_, moved)| moved.position))
        .bind(rows.column(|(_, moved)| moved.updated_at.utc()))
        .bind(rows.column(|(_, moved)| moved.completed_at.map(domain::Timestamp::utc)))
        .bind(rows.column(|(_, moved)| moved.refunded_at.map(domain::Timestamp::utc)))
        .bind(rows.column(|(_, moved)| moved.attempts.map(u32::cast_signed)))
        .bind(rows.column(|(_, moved)| moved.status.as_ref().map(AsRef::<str>::as_ref)))
        .bind(rows.column(|(_, moved)| moved.external_reference.as_deref()))
        .bind(rows.column(|(_, moved)| moved.error_code.as_deref()))
        .bind(rows.column(|(_, moved)| moved.error_message.as_deref()))
        .bind(rows.column(|(_, moved)| {
            moved.pending_reason.as_ref().map(|reason| reason.as_deref().unwrap_or_default())
        }))
}

pub(crate) fn from_row(row: &PgRow) -> Result<TransactionView, sqlx::Error> {
    Ok(TransactionView {
        transaction_id: TransactionId(row.try_get("transaction_id")?),
        request: request_from_row(row)?,
        callback_url: row.try_get("callback_url")?,
        status: variant(row.try_get("status")?)?,
        attempts: row.try_get::<i32, _>("attempts")?.cast_unsigned(),
        external_reference: row.try_get("external_reference")?,
        error_code: row.try_get("error_code")?,
        error_message: row.try_get("error_message")?,
        pending_reason: row.try_get("pending_reason")?,
        created_at: moment(row, "created_at")?,
        updated_at: moment(row, "updated_at")?,
        completed_at: row
            .try_get::<Option<chrono::DateTime<chrono::Utc>>, _>("completed_at")?
            .map(Into::into),
        refunded_at: row.try_get::<Option<chrono::DateTime<chrono::Utc>>, _>("refunded_at")?.map(Into::into),
        created_position: row.try_get("created_position")?,
        position: row.try_get("position")?,
    })
}

fn request_from_row(row: &PgRow) -> Result<ActivationRequested, sqlx::Error> {
    Ok(ActivationRequested {
        kind: variant(row.try_get("kind")?)?,
        user_id: UserId(row.try_get("user_id")?),
        account_id: AccountId(row.try_get("account_id")?),
        partner_id: row.try_get::<Option<Uuid>, _>("partner_id")?.map(PartnerId),
        subscription_id: row.try_get::<Option<Uuid>, _>("subscription_id")?.map(SubscriptionId),
        offer_id: OfferId(row.try_get("offer_id")?),
        offer_name: row.try_get("offer_name")?,
        duration_days: row.try_get::<i32, _>("duration_days")?.cast_unsigned(),
        amount: money(row, "amount")?,
        partner_reference: row.try_get("partner_reference")?,
        reference: row.try_get("reference")?,
    })
}

/// Reads a column that holds the name of a variant.
fn variant<T: FromStr<Err = strum::ParseError>>(name: &str) -> Result<T, sqlx::Error> {
    name.parse().map_err(|unknown| sqlx::Error::Decode(Box::new(unknown)))
}
