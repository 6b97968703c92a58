//! The table of mails: sent ones, and those to be sent.

use crate::postgres::Answered;
use crate::processors::claims::LEASE_SECONDS;
use chrono::{DateTime, Utc};
use domain::{Recorded, UserId};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use strum::{EnumString, IntoStaticStr};
use uuid::Uuid;

/// Characters of an error that are kept.
const ERROR_LENGTH: usize = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, EnumString)]
#[strum(serialize_all = "snake_case", const_into_str)]
pub(super) enum Kind {
    /// A transaction succeeded: an activation or a renewal.
    Succeeded,
    /// A transaction failed and was refunded.
    Failed,
    ExpirySoon,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Succeeded, Self::Failed, Self::ExpirySoon];

    /// The kind of mail for an event; `None` for most.
    pub(super) fn of(recorded: &Recorded) -> Option<Self> {
        let event = (recorded.aggregate_type.as_str(), recorded.event_type.as_str());
        Self::ALL.into_iter().find(|kind| kind.event() == event)
    }

    /// The aggregate and the event that lead to it.
    pub(super) fn event(self) -> (&'static str, &'static str) {
        match self {
            Self::Succeeded => ("Transaction", "Succeeded"),
            Self::Failed => ("Transaction", "Failed"),
            Self::ExpirySoon => ("UserOffer", "ExpirySoon"),
        }
    }
}

/// A user is to be notified of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::processors) struct Notice {
    pub(super) event_id: Uuid,
    pub(super) user_id: UserId,
    pub(super) position: i64,
    pub(super) kind: Kind,
    pub(super) aggregate_id: Uuid,
}

/// A notice that only this sender may send until its claim expires.
#[derive(Clone, Copy, Debug)]
pub(super) struct Claimed {
    pub(super) notice: Notice,
    pub(super) attempts: u32,
}

/// A mail in its final state.
pub(super) struct Finished {
    pub(super) notice: Notice,
    /// `sent`, `skipped` or `parked`.
    pub(super) state: &'static str,
    pub(super) why: Option<String>,
}

/// The tables `sent_mail` and `mail_checkpoint`.
#[derive(Clone, Debug)]
pub(super) struct Outbox {
    pool: PgPool,
}

impl Outbox {
    pub(super) fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Sets the checkpoint to `head` on the first call ever.
    pub(super) async fn start(&self, head: i64) -> Result<(), sqlx::Error> {
        let start = sqlx::query("insert into mail_checkpoint (position) values ($1) on conflict do nothing");
        start.bind(head).execute(&self.pool).answered().await?;
        Ok(())
    }

    /// Moves the checkpoint; false if it was not at `from`.
    pub(super) async fn advance(
        connection: &mut PgConnection,
        from: i64,
        to: i64,
    ) -> Result<bool, sqlx::Error> {
        let moved = sqlx::query("update mail_checkpoint set position = $2 where position = $1");
        let moved = moved.bind(from).bind(to).execute(connection).await?;
        Ok(moved.rows_affected() == 1)
    }

    /// Adds the notices that are not in the table yet.
    pub(super) async fn add(
        connection: &mut PgConnection,
        notices: &[Notice],
        now: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "insert into sent_mail (event_id, user_id, position, kind, aggregate_id, state,
                                    next_attempt_at, created_at)
             select event_id, user_id, position, kind, aggregate_id, 'pending', $6, $6
             from unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::uuid[])
                  as notice (event_id, user_id, position, kind, aggregate_id)
             on conflict do nothing",
        )
        .bind(notices.iter().map(|notice| notice.event_id).collect::<Vec<_>>())
        .bind(notices.iter().map(|notice| notice.user_id.0).collect::<Vec<_>>())
        .bind(notices.iter().map(|notice| notice.position).collect::<Vec<_>>())
        .bind(notices.iter().map(|notice| notice.kind.into_str()).collect::<Vec<_>>())
        .bind(notices.iter().map(|notice| notice.aggregate_id).collect::<Vec<_>>())
        .bind(now)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// The same, apart from the checkpoint.
    pub(super) async fn add_late(&self, notices: &[Notice], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
        Self::add(&mut *self.pool.acquire().await?, notices, now).await
    }

    /// Claims up to `limit` notices that are due at `now`, for a lease; then other senders may claim them.
    pub(super) async fn claim(&self, now: DateTime<Utc>, limit: u8) -> Result<Vec<Claimed>, sqlx::Error> {
        let rows = sqlx::query(
            "update sent_mail set attempts = attempts + 1, claimed_until = now() + make_interval(secs => $2)
             where (event_id, user_id) in (
                 select event_id, user_id from sent_mail
                 where state = 'pending' and next_attempt_at <= $1
                   and (claimed_until is null or claimed_until <= now())
                 order by next_attempt_at limit $3 for update skip locked)
             returning event_id, user_id, position, kind, aggregate_id, attempts",
        )
        .bind(now)
        .bind(LEASE_SECONDS)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .answered()
        .await?;
        rows.iter().map(claimed).collect()
    }

    /// Holds the claimed notices that are not settled yet for another lease.
    pub(super) async fn renew(&self, claimed: &[Claimed]) -> Result<(), sqlx::Error> {
        sqlx::query(
            "update sent_mail set claimed_until = now() + make_interval(secs => $2)
             where event_id = any($1) and finished_at is null and claimed_until is not null",
        )
        .bind(claimed.iter().map(|claimed| claimed.notice.event_id).collect::<Vec<_>>())
        .bind(LEASE_SECONDS)
        .execute(&self.pool)
        .answered()
        .await?;
        Ok(())
    }

    /// Releases claimed notices that were not attempted.
    pub(super) async fn release(&self, untried: &[Claimed]) -> Result<(), sqlx::Error> {
        if untried.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "update sent_mail set attempts = attempts - 1, claimed_until = null
             where event_id = any($1) and finished_at is null",
        )
        .bind(untried.iter().map(|claimed| claimed.notice.event_id).collect::<Vec<_>>())
        .execute(&self.pool)
        .answered()
        .await?;
        Ok(())
    }

    /// Sets the final state, unless another sender did.
    ///
    /// By the key: with `state = 'pending'` here the planner may walk all pending mails by their own index
    /// instead.
    pub(super) async fn finish(&self, mails: &[Finished], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
        sqlx::query(
            "update sent_mail set state = finished.state, last_error = finished.why, finished_at = $5
             from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[]) as finished (event_id, user_id, state, why)
             where sent_mail.event_id = finished.event_id and sent_mail.user_id = finished.user_id
               and sent_mail.finished_at is null",
        )
        .bind(mails.iter().map(|mail| mail.notice.event_id).collect::<Vec<_>>())
        .bind(mails.iter().map(|mail| mail.notice.user_id.0).collect::<Vec<_>>())
        .bind(mails.iter().map(|mail| mail.state).collect::<Vec<_>>())
        .bind(mails.iter().map(|mail| mail.why.as_deref().map(shortened)).collect::<Vec<_>>())
        .bind(now)
        .execute(&self.pool).answered()
        .await?;
        Ok(())
    }

    /// Sets the next attempt to `next`.
    pub(super) async fn defer(
        &self,
        notice: &Notice,
        why: &str,
        next: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "update sent_mail set next_attempt_at = $3, last_error = $4, claimed_until = null
             where event_id = $1 and user_id = $2 and finished_at is null",
        )
        .bind(notice.event_id)
        .bind(notice.user_id.0)
        .bind(next)
        .bind(shortened(why))
        .execute(&self.pool)
        .answered()
        .await?;
        Ok(())
    }

    /// Makes a notice that is in one of the states `from` pending again.
    pub(super) async fn reopen(
        connection: &mut PgConnection,
        event_id: Uuid,
        from: &[&str],
        now: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        sqlx::query(
            "update sent_mail set state = 'pending', attempts = 0, next_attempt_at = $3, finished_at = null,
                                  claimed_until = null
             where event_id = $1 and state = any($2)",
        )
        .bind(event_id)
        .bind(from)
        .bind(now)
        .execute(connection)
        .await?;
        Ok(())
    }

    /// The same, in an SQL transaction of its own.
    pub(super) async fn reopen_unsent(&self, event_id: Uuid, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
        let mut connection = self.pool.acquire().await?;
        Self::reopen(&mut connection, event_id, &["parked", "skipped"], now).answered().await
    }
}

/// The number of pending mails.
pub async fn pending(pool: &PgPool) -> Result<i64, sqlx::Error> {
    let pending = sqlx::query_scalar("select count(*) from sent_mail where state = 'pending'");
    pending.fetch_one(pool).answered().await
}

fn claimed(row: &PgRow) -> Result<Claimed, sqlx::Error> {
    let kind: &str = row.try_get("kind")?;
    Ok(Claimed {
        notice: Notice {
            event_id: row.try_get("event_id")?,
            user_id: UserId(row.try_get("user_id")?),
            position: row.try_get("position")?,
            kind: kind
                .parse()
                .map_err(|unknown: strum::ParseError| sqlx::Error::Decode(Box::new(unknown)))?,
            aggregate_id: row.try_get("aggregate_id")?,
        },
        attempts: row.try_get::<i32, _>("attempts")?.cast_unsigned(),
    })
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(ERROR_LENGTH).collect()
}
