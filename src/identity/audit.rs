//! The audit log: who changed whose rights, who sent what back to work, who logged in or was refused. What is an
//! event in the log of transactions is not repeated here.
//!
//! A change is recorded in the transaction that makes it. Logins and refusals change nothing: they go through a
//! queue (`audit_queue`), and a crash loses a second of them.

use super::caller::Actor;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

/// How long logins and refusals are kept; all other rows are kept for ever.
const LOGINS_KEPT: TimeDelta = TimeDelta::days(90);
/// Rows that one purge removes, so that it never holds the table up.
const PURGE_MAX_ROWS: i32 = 10_000;

/// One change.
pub struct Entry<'a> {
    /// With the reason.
    pub actor: &'a Actor,
    /// Such as `user.created`.
    pub action: &'static str,
    /// What was changed: `user:<id>`, `partner:<id>`, `parked:<id>`, `callback:<id>`.
    pub subject: String,
    /// An object; never personal data or a secret.
    pub details: Value,
}

/// Records `entry` in the transaction that makes the change.
pub async fn record(
    connection: &mut PgConnection,
    entry: Entry<'_>,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into audit_log (id, at, actor, action, subject, reason, details)
         values ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(Uuid::now_v7())
    .bind(now)
    .bind(entry.actor.as_str())
    .bind(entry.action)
    .bind(entry.subject)
    .bind(entry.actor.reason())
    .bind(entry.details)
    .execute(connection)
    .await
    .map(drop)
}

/// Deletes logins and refusals that are too old. Returns how many.
pub(super) async fn purge(pool: &PgPool, now: DateTime<Utc>) -> Result<i64, sqlx::Error> {
    let purge = sqlx::query_scalar("select purge_audit_log($1, $2)");
    purge.bind(now - LOGINS_KEPT).bind(PURGE_MAX_ROWS).fetch_one(pool).await
}
