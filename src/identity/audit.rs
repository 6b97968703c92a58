//! The audit log: who changed whose rights, who sent what back to work, who logged in or was refused. What is an
//! event in the log of transactions is not repeated here.
//!
//! A change is recorded in the transaction that makes it. Logins and refusals change nothing: they go through a
//! queue (`audit_queue`), and a crash loses a second of them.

use super::Identity;
use super::caller::Actor;
use super::error::Error;
use chrono::{DateTime, TimeDelta, Utc};
use domain::{CreationKey, Slice};
use serde_json::Value;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgConnection, PgPool, QueryBuilder, Row};
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

/// One row of the audit log.
#[derive(Debug, Clone)]
pub struct Change {
    pub id: Uuid,
    pub at: DateTime<Utc>,
    pub actor: String,
    pub action: String,
    pub subject: String,
    pub reason: Option<String>,
    pub details: Value,
}

/// Which rows of the audit log: those of an actor, those about a subject, or all.
#[derive(Debug, Clone, Default)]
pub struct ChangeFilter {
    pub actor: Option<String>,
    pub subject: Option<String>,
}

impl FromRow<'_, PgRow> for Change {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            at: row.try_get("at")?,
            actor: row.try_get("actor")?,
            action: row.try_get("action")?,
            subject: row.try_get("subject")?,
            reason: row.try_get("reason")?,
            details: row.try_get("details")?,
        })
    }
}

impl Identity {
    /// Who changed what, newest first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn find_changes(
        &self,
        filter: &ChangeFilter,
        after: Option<CreationKey>,
        limit: u32,
    ) -> Result<Slice<Change, CreationKey>, Error> {
        let columns = "id, at, actor, action, subject, reason, details";
        let mut query = QueryBuilder::new(format!("select {columns} from audit_log where true"));
        if let Some(actor) = &filter.actor {
            query.push(" and actor = ").push_bind(actor);
        }
        if let Some(subject) = &filter.subject {
            query.push(" and subject = ").push_bind(subject);
        }
        if let Some((at, id)) = after {
            query.push(" and (at, id) < (").push_bind(at.utc()).push(", ").push_bind(id).push(")");
        }
        query.push(" order by at desc, id desc limit ").push_bind(i64::from(limit) + 1);
        let changes = query.build_query_as().fetch_all(&self.pool).await?;
        Ok(Slice::cut(changes, limit, |change: &Change| (change.at.into(), change.id)))
    }
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
