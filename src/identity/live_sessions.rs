//! The live sessions of a user: seen and ended by the user, or by an administrator.

use super::Identity;
use super::audit::{self, Entry};
use super::caller::{Actor, SessionId};
use super::error::Error;
use super::sessions::{self, Ended};
use crate::postgres::repeated;
use chrono::{DateTime, Utc};
use domain::{CreationKey, Slice, UserId};
use serde_json::json;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, Row};
use std::net::IpAddr;
use uuid::Uuid;

/// A live session.
#[derive(Debug, Clone)]
pub struct LiveSession {
    pub id: SessionId,
    pub created_at: DateTime<Utc>,
    /// When its newest tokens were given out.
    pub last_used_at: DateTime<Utc>,
    /// Where it was opened from; unknown for sessions that are older than this column.
    pub address: Option<IpAddr>,
}

impl FromRow<'_, PgRow> for LiveSession {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        let address: Option<&str> = row.try_get("address")?;
        Ok(Self {
            id: SessionId(row.try_get("id")?),
            created_at: row.try_get("created_at")?,
            last_used_at: row.try_get("rotated_at")?,
            address: address.and_then(|address| address.parse().ok()),
        })
    }
}

impl Identity {
    /// The live sessions of `user`, newest first.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn live_sessions(
        &self,
        user: UserId,
        after: Option<CreationKey>,
        limit: u32,
        now: DateTime<Utc>,
    ) -> Result<Slice<LiveSession, CreationKey>, Error> {
        let sessions = sqlx::query_as(
            "select id, created_at, rotated_at, address from sessions
             where user_id = $1 and ended_at is null and expires_at > $2
               and (created_at, id) < (coalesce($3, 'infinity'), $4)
             order by created_at desc, id desc limit $5",
        )
        .bind(user.0)
        .bind(now)
        .bind(after.map(|(created, _)| created.utc()))
        .bind(after.map_or(Uuid::max(), |(_, id)| id))
        .bind(i64::from(limit) + 1);
        Ok(Slice::cut(sessions.fetch_all(&self.pool).await?, limit, |session: &LiveSession| {
            (session.created_at.into(), session.id.0)
        }))
    }

    /// Ends a session of `user`, on every instance within a second.
    ///
    /// # Errors
    /// `SessionNotFound` when the user has no such live session, `Unavailable`.
    pub async fn end_session_of(
        &self,
        user: UserId,
        session: SessionId,
        now: DateTime<Utc>,
    ) -> Result<(), Error> {
        let ended = sessions::end(&self.pool, user, Ended::Only(session), "ended_by_user", now).await?;
        self.changes.sessions_ended(&ended);
        if ended.is_empty() { Err(Error::SessionNotFound) } else { Ok(()) }
    }

    /// Ends all sessions of `user`.
    ///
    /// # Errors
    /// `UserNotFound`, `Unavailable`.
    pub async fn end_sessions_of(&self, user: UserId, by: &Actor, now: DateTime<Utc>) -> Result<(), Error> {
        let user = self.get_user(user).await?.id;
        let ended = repeated(|| self.write_ended(user, by, now)).await?;
        self.changes.sessions_ended(&ended);
        Ok(())
    }

    async fn write_ended(&self, user: UserId, by: &Actor, now: DateTime<Utc>) -> Result<Vec<Uuid>, Error> {
        let mut transaction = self.pool.begin().await?;
        let ended = sessions::end(&mut *transaction, user, Ended::All, "ended_by_admin", now).await?;
        let entry = Entry {
            actor: by,
            action: "user.sessions_ended",
            subject: format!("user:{user}"),
            details: json!({"sessions": ended.len()}),
        };
        audit::record(&mut transaction, entry, now).await?;
        transaction.commit().await?;
        Ok(ended)
    }
}
