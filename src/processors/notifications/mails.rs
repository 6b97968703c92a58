//! The table of mails for administrators: list, resend.

use super::outbox::Outbox;
use super::sender::PARKED_AS;
use crate::clock::Clock;
use crate::identity::Actor;
use crate::identity::audit::{self, Entry};
use crate::postgres::Answered;
use crate::processors::Parked;
use chrono::{DateTime, Utc};
use domain::{Slice, Timestamp, UserId};
use serde::Serialize;
use serde_json::json;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, QueryBuilder, Row};
use strum::{EnumString, IntoStaticStr, VariantNames};
use uuid::Uuid;

const COLUMNS: &str = "event_id, user_id, position, kind, aggregate_id, state, attempts, next_attempt_at, last_error, created_at, finished_at";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, IntoStaticStr, EnumString, VariantNames)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum MailStatus {
    /// Waits for its first or next attempt.
    Pending,
    Sent,
    /// There was nobody to send it to.
    Skipped,
    /// All attempts failed: it waits for a person.
    Parked,
}

/// A mail without its text and its address: these are written when it is sent.
#[derive(Clone, Debug)]
pub struct MailView {
    /// Of the event that it tells of.
    pub id: Uuid,
    pub user_id: UserId,
    pub position: i64,
    /// `succeeded`, `failed`, `expiry_soon`.
    pub kind: String,
    /// The transaction, or the subscription that ends.
    pub aggregate_id: Uuid,
    pub status: MailStatus,
    pub attempts: i32,
    /// `None` unless it is pending.
    pub next_attempt_at: Option<Timestamp>,
    pub last_error: Option<String>,
    pub created_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

/// Which mails.
#[derive(Clone, Copy, Debug, Default)]
pub struct MailFilter {
    pub user: Option<UserId>,
    pub status: Option<MailStatus>,
}

#[derive(Debug, thiserror::Error)]
pub enum MailError {
    #[error("no such mail")]
    MailNotFound,
    #[error("the mail waits to be sent")]
    MailIsPending,
    #[error("cannot read or write the table of mails")]
    Unavailable(#[from] sqlx::Error),
}

/// The mails of all processes. Cheap to clone.
#[derive(Clone)]
pub struct Mails {
    pool: PgPool,
    clock: Clock,
}

impl Mails {
    #[must_use]
    pub fn new(pool: PgPool, clock: Clock) -> Self {
        Self { pool, clock }
    }

    /// Mails, the newest event first.
    pub async fn list(
        &self,
        filter: MailFilter,
        after: Option<i64>,
        limit: u32,
    ) -> Result<Slice<MailView, i64>, MailError> {
        let mut query = QueryBuilder::new(format!("select {COLUMNS} from sent_mail where true"));
        if let Some(user) = filter.user {
            query.push(" and user_id = ").push_bind(user.0);
        }
        match filter.status {
            Some(MailStatus::Pending) => query.push(" and state = 'pending'"),
            Some(MailStatus::Sent) => query.push(" and state = 'sent'"),
            // The predicate of their index.
            Some(status) => {
                query.push(" and state in ('parked', 'skipped') and state = ").push_bind(status.into_str())
            }
            None => &mut query,
        };
        if let Some(position) = after {
            query.push(" and position < ").push_bind(position);
        }
        query.push(" order by position desc limit ").push_bind(i64::from(limit) + 1);
        let mails = query.build_query_as().fetch_all(&self.pool).answered().await?;
        Ok(Slice::cut(mails, limit, |mail: &MailView| mail.position))
    }

    /// The mails about events with these ids.
    pub async fn about(&self, events: &[Uuid]) -> Result<Vec<MailView>, MailError> {
        let query = format!("select {COLUMNS} from sent_mail where event_id = any($1) order by position");
        Ok(sqlx::query_as(&query).bind(events).fetch_all(&self.pool).answered().await?)
    }

    /// Sends a mail again that was sent, skipped or parked; `by` is recorded in the audit log.
    ///
    /// # Errors
    /// `MailNotFound`, `MailIsPending`.
    pub async fn resend(&self, id: Uuid, by: &Actor) -> Result<(), MailError> {
        let now = self.clock.now().utc();
        let mut transaction = self.pool.begin().await?;
        let query = "select state, position from sent_mail where event_id = $1 for update";
        let rows: Vec<(String, i64)> = sqlx::query_as(query).bind(id).fetch_all(&mut *transaction).await?;
        let (before, position) = rows.into_iter().next().ok_or(MailError::MailNotFound)?;
        if before == MailStatus::Pending.into_str() {
            return Err(MailError::MailIsPending);
        }
        Outbox::reopen(&mut transaction, id, &[&before], now).await?;
        Parked::resume(&mut transaction, PARKED_AS, position, by).await?;
        let (subject, details) = (format!("mail:{id}"), json!({"status": before}));
        audit::record(&mut transaction, Entry { actor: by, action: "mail.resent", subject, details }, now)
            .await?;
        transaction.commit().await?;
        Ok(())
    }
}

impl FromRow<'_, PgRow> for MailView {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let moment = |name| row.try_get::<DateTime<Utc>, _>(name).map(Timestamp::new);
        let state: &str = row.try_get("state")?;
        let status =
            state.parse().map_err(|unknown| sqlx::Error::Decode(Box::<strum::ParseError>::new(unknown)))?;
        let finished_at: Option<DateTime<Utc>> = row.try_get("finished_at")?;
        Ok(Self {
            id: row.try_get("event_id")?,
            user_id: UserId(row.try_get("user_id")?),
            position: row.try_get("position")?,
            kind: row.try_get("kind")?,
            aggregate_id: row.try_get("aggregate_id")?,
            status,
            attempts: row.try_get("attempts")?,
            next_attempt_at: Some(moment("next_attempt_at")?).filter(|_| status == MailStatus::Pending),
            last_error: row.try_get("last_error")?,
            created_at: moment("created_at")?,
            finished_at: finished_at.map(Timestamp::new),
        })
    }
}
