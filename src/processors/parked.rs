//! Messages that cannot be handled. They wait for an operator.

use super::Unhandled;
use crate::identity::Actor;
use crate::identity::audit::{self, Entry};
use crate::postgres::Answered;
use chrono::{DateTime, Utc};
use domain::{CreationKey, Slice, Timestamp};
use serde_json::json;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row};
use uuid::Uuid;

/// Characters of a reason that are kept.
const REASON_LENGTH: usize = 500;
const COLUMNS: &str = "id, consumer, position, subject, event_id, aggregate_id, reason, attempts, \
                       parked_at, requeued_at, requeued_by, resumed_at";

/// The table of parked messages.
#[derive(Clone)]
pub struct Parked {
    pool: PgPool,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot read or write the table of parked messages")]
pub struct ParkedError(#[from] sqlx::Error);

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedMessage {
    pub id: Uuid,
    /// The consumer that could not handle it.
    pub consumer: String,
    /// Its sequence in the stream: the event's position in the log.
    pub position: i64,
    pub subject: String,
    /// If the message has one.
    pub event_id: Option<Uuid>,
    /// If the message has one.
    pub aggregate_id: Option<Uuid>,
    pub reason: String,
    /// Deliveries until it was parked.
    pub attempts: i64,
    pub parked_at: Timestamp,
    /// `None` while it waits.
    pub requeued_at: Option<Timestamp>,
    /// `user:<id>`.
    pub requeued_by: Option<String>,
    /// When a processor took the requeued message.
    pub resumed_at: Option<Timestamp>,
}

impl Parked {
    #[must_use]
    pub fn new(pool: PgPool) -> Self {
        Self { pool }
    }

    /// Keeps what `consumer` could not handle. Parking a message twice resets it to waiting.
    pub async fn keep(&self, consumer: &str, unhandled: &Unhandled) -> Result<(), ParkedError> {
        sqlx::query(
            "insert into parked (id, consumer, position, subject, event_id, aggregate_id, reason, attempts) \
             values ($1, $2, $3, $4, $5, $6, $7, $8) \
             on conflict (consumer, position) do update set \
             subject = excluded.subject, event_id = excluded.event_id, aggregate_id = excluded.aggregate_id, \
             reason = excluded.reason, attempts = excluded.attempts, parked_at = now(), \
             requeued_at = null, requeued_by = null, resumed_at = null",
        )
        .bind(Uuid::now_v7())
        .bind(consumer)
        .bind(unhandled.position)
        .bind(&unhandled.subject)
        .bind(unhandled.event_id)
        .bind(unhandled.aggregate_id)
        .bind(shortened(&unhandled.reason))
        .bind(unhandled.attempts)
        .execute(&self.pool)
        .answered()
        .await?;
        metrics::counter!("offers_parked_total").increment(1);
        Ok(())
    }

    /// The number of waiting messages.
    pub async fn count(&self) -> Result<i64, ParkedError> {
        let query = "select count(*) from parked where requeued_at is null";
        Ok(sqlx::query_scalar(query).fetch_one(&self.pool).answered().await?)
    }

    /// Waiting messages, newest first, those after the key `after`.
    pub async fn waiting(
        &self,
        after: Option<CreationKey>,
        limit: u32,
    ) -> Result<Slice<ParkedMessage, CreationKey>, ParkedError> {
        let query = format!(
            "select {COLUMNS} from parked where requeued_at is null \
             and ($1::timestamptz is null or (parked_at, id) < ($1, $2)) \
             order by parked_at desc, id desc limit $3"
        );
        let rows = sqlx::query(&query)
            .bind(after.map(|(moment, _)| moment.utc()))
            .bind(after.map(|(_, id)| id))
            .bind(i64::from(limit) + 1)
            .fetch_all(&self.pool)
            .answered()
            .await?;
        let items = rows.iter().map(message).collect::<Result<_, _>>()?;
        Ok(Slice::cut(items, limit, |item: &ParkedMessage| (item.parked_at, item.id)))
    }

    /// The message `id`, waiting or requeued.
    pub async fn find(&self, id: Uuid) -> Result<Option<ParkedMessage>, ParkedError> {
        let query = format!("select {COLUMNS} from parked where id = $1");
        let row = sqlx::query(&query).bind(id).fetch_optional(&self.pool).answered().await?;
        Ok(row.as_ref().map(message).transpose()?)
    }

    /// Marks the waiting message `id` as requeued by `by`, with a row in the audit log, and returns it; its processor
    /// polls for such messages. `None` if no such message waits.
    pub async fn requeue(
        &self,
        id: Uuid,
        by: &Actor,
        now: DateTime<Utc>,
    ) -> Result<Option<ParkedMessage>, ParkedError> {
        let mut transaction = self.pool.begin().await?;
        let query = format!(
            "update parked set requeued_at = now(), requeued_by = $2, resumed_at = null \
             where id = $1 and requeued_at is null returning {COLUMNS}"
        );
        let row = sqlx::query(&query).bind(id).bind(by.as_str()).fetch_optional(&mut *transaction).await?;
        let Some(row) = row else { return Ok(None) };
        let message = message(&row)?;
        let details = json!({"consumer": message.consumer, "position": message.position});
        let entry = Entry { actor: by, action: "message.requeued", subject: format!("parked:{id}"), details };
        audit::record(&mut transaction, entry, now).await?;
        transaction.commit().await?;
        Ok(Some(message))
    }

    /// Up to `limit` requeued messages of `consumers` that are still to be handled; another process may get them too.
    pub(super) async fn requeued(
        &self,
        consumers: &[&str],
        limit: u32,
    ) -> Result<Vec<ParkedMessage>, ParkedError> {
        let query = format!(
            "select {COLUMNS} from parked where requeued_at is not null and resumed_at is null \
             and consumer = any($2) order by requeued_at limit $1"
        );
        let rows = sqlx::query(&query)
            .bind(i64::from(limit))
            .bind(consumers)
            .fetch_all(&self.pool)
            .answered()
            .await?;
        Ok(rows.iter().map(message).collect::<Result<_, _>>()?)
    }

    /// Marks a requeued message as handled.
    pub(super) async fn handled(&self, id: Uuid) -> Result<(), ParkedError> {
        let query = "update parked set resumed_at = now() \
                     where id = $1 and requeued_at is not null and resumed_at is null";
        sqlx::query(query).bind(id).execute(&self.pool).answered().await?;
        Ok(())
    }

    /// Marks the message of `consumer` about `position`, if it waits, as requeued by `by` and handled: the same was done
    /// in another way.
    pub(super) async fn resume(
        connection: &mut PgConnection,
        consumer: &str,
        position: i64,
        by: &Actor,
    ) -> Result<(), sqlx::Error> {
        let query = "update parked set requeued_at = now(), requeued_by = $3, resumed_at = now() \
                     where consumer = $1 and position = $2 and requeued_at is null";
        sqlx::query(query).bind(consumer).bind(position).bind(by.as_str()).execute(connection).await?;
        Ok(())
    }

    /// Resets a requeued message to waiting.
    pub(super) async fn park_again(&self, id: Uuid, reason: &str) -> Result<(), ParkedError> {
        sqlx::query(
            "update parked set reason = $2, parked_at = now(), \
             requeued_at = null, requeued_by = null, resumed_at = null where id = $1",
        )
        .bind(id)
        .bind(shortened(reason))
        .execute(&self.pool)
        .answered()
        .await?;
        Ok(())
    }
}

fn shortened(reason: &str) -> String {
    reason.chars().filter(|c| *c != '\0').take(REASON_LENGTH).collect()
}

fn message(row: &PgRow) -> Result<ParkedMessage, sqlx::Error> {
    let moment = |name| row.try_get::<Option<DateTime<Utc>>, _>(name).map(|at| at.map(Timestamp::new));
    Ok(ParkedMessage {
        id: row.try_get("id")?,
        consumer: row.try_get("consumer")?,
        position: row.try_get("position")?,
        subject: row.try_get("subject")?,
        event_id: row.try_get("event_id")?,
        aggregate_id: row.try_get("aggregate_id")?,
        reason: row.try_get("reason")?,
        attempts: row.try_get("attempts")?,
        parked_at: Timestamp::new(row.try_get("parked_at")?),
        requeued_at: moment("requeued_at")?,
        requeued_by: row.try_get("requeued_by")?,
        resumed_at: moment("resumed_at")?,
    })
}
