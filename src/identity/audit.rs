//! The audit log: who changed whose rights, for the changes that are not events.

use super::caller::Actor;
use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

/// One change. `details` is an object and never holds personal data or a secret; the actor's reason is
/// added to it.
pub(super) struct Entry<'a> {
    pub(super) actor: &'a Actor,
    pub(super) action: &'static str,
    pub(super) subject: String,
    pub(super) details: Value,
}

/// Records `entry` in the transaction that makes the change.
pub(super) async fn record(
    connection: &mut PgConnection,
    mut entry: Entry<'_>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    if let Some(reason) = entry.actor.reason() {
        entry.details["reason"] = reason.into();
    }
    sqlx::query(
        "insert into audit_log (id, at, actor, action, subject, details) values ($1, $2, $3, $4, $5, $6)",
    )
    .bind(Uuid::now_v7())
    .bind(now)
    .bind(entry.actor.as_str())
    .bind(entry.action)
    .bind(entry.subject)
    .bind(entry.details)
    .execute(connection)
    .await
    .map(drop)
}
