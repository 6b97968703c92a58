//! A partner's row, and what its keys, its webhook secret and its settings all need: the row's lock and the
//! entry in the record of changes.

use super::audit::{self, Entry};
use super::caller::Actor;
use super::error::Error;
use chrono::{DateTime, Utc};
use domain::PartnerId;
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, Row};

/// A partner as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partner {
    /// Also the id of its float account.
    pub id: PartnerId,
    pub name: String,
    /// Where callbacks go; none are sent without one.
    pub callback_url: Option<String>,
    /// When the endpoint said that it is gone; a new URL clears it.
    pub callback_disabled_at: Option<DateTime<Utc>>,
    /// The keys of an inactive partner are refused.
    pub is_active: bool,
    pub created_at: DateTime<Utc>,
}

impl FromRow<'_, PgRow> for Partner {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: PartnerId(row.try_get("id")?),
            name: row.try_get("name")?,
            callback_url: row.try_get("callback_url")?,
            callback_disabled_at: row.try_get("callback_disabled_at")?,
            is_active: row.try_get("is_active")?,
            created_at: row.try_get("created_at")?,
        })
    }
}

/// Locks the partner's row: its keys and secrets are counted and replaced one change at a time.
pub(super) async fn lock(connection: &mut PgConnection, id: PartnerId) -> Result<Partner, Error> {
    let partner = sqlx::query_as("select * from partners where id = $1 for update").bind(id.0);
    partner.fetch_optional(connection).await?.ok_or(Error::PartnerNotFound)
}

pub(super) async fn record(
    connection: &mut PgConnection,
    actor: &Actor,
    action: &'static str,
    partner: PartnerId,
    details: Value,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    let entry = Entry { actor, action, subject: format!("partner:{partner}"), details };
    audit::record(connection, entry, now).await
}
