//! The table of deliveries for operators and partners: list, resend, ping.

use super::body;
use super::{Callbacks, Error};
use crate::identity::Actor;
use crate::identity::audit::{self, Entry};
use chrono::{DateTime, Utc};
use domain::{PartnerId, Slice, Timestamp, TransactionId};
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use strum::{EnumString, IntoStaticStr, VariantNames};
use uuid::Uuid;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, IntoStaticStr, EnumString, VariantNames)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", const_into_str)]
pub enum Status {
    /// Waits for its first or next attempt.
    Pending,
    /// The receiver answered 2xx.
    Delivered,
    /// All attempts failed: it waits for an operator.
    Parked,
    /// There is no endpoint (any more).
    Disabled,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Delivery {
    pub id: Uuid,
    pub partner_id: PartnerId,
    /// The `webhook-id` that the receiver sees.
    pub event_id: Uuid,
    /// `transaction.succeeded`, `transaction.failed` or `ping`.
    pub r#type: String,
    /// `None` for a ping.
    pub transaction_id: Option<TransactionId>,
    /// Of the last attempt, or of the first one to come.
    pub url: String,
    /// What is sent, byte for byte.
    pub body: String,
    pub status: Status,
    /// The newest ones, oldest first.
    pub attempts: Vec<Attempt>,
    /// `None` unless it is pending.
    pub next_attempt_at: Option<Timestamp>,
    /// The HTTP status of the last attempt.
    pub last_status: Option<i32>,
    /// Why the last attempt failed.
    pub last_error: Option<String>,
    /// The beginning of the last answer's body.
    pub last_response: Option<String>,
    pub created_at: Timestamp,
    pub delivered_at: Option<Timestamp>,
    /// When somebody last had it sent again.
    pub resent_at: Option<Timestamp>,
}

/// One request to the receiver, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// The HTTP status; `None` without an answer.
    pub status: Option<u16>,
    /// Until the answer was read or given up.
    pub duration_ms: u64,
    /// Why it does not count as delivered.
    pub error: Option<String>,
    /// The beginning of the answer's body.
    pub response: Option<String>,
}

/// Which of a partner's deliveries are wanted; `None` stands for any.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    pub status: Option<Status>,
    pub transaction: Option<TransactionId>,
}

impl Callbacks {
    /// Deliveries after the id `after`, newest first.
    pub async fn list(
        &self,
        status: Option<Status>,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Slice<Delivery, Uuid>, Error> {
        self.page(None, Filter { status, transaction: None }, after, limit).await
    }

    /// A partner's deliveries after the id `after`, newest first.
    pub async fn list_for_partner(
        &self,
        partner: PartnerId,
        filter: Filter,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Slice<Delivery, Uuid>, Error> {
        self.page(Some(partner), filter, after, limit).await
    }

    async fn page(
        &self,
        partner: Option<PartnerId>,
        filter: Filter,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Slice<Delivery, Uuid>, Error> {
        let rows = sqlx::query(include_str!("list.sql"))
            .bind(partner.map(|id| id.0))
            .bind(filter.status.map(|status| status.into_str()))
            .bind(filter.transaction.map(|id| id.0))
            .bind(after)
            .bind(i64::from(limit) + 1)
            .persistent(false) // planned with the values each time
            .fetch_all(&self.pool)
            .await?;
        let items = rows.iter().map(delivery).collect::<Result<_, _>>()?;
        Ok(Slice::cut(items, limit, |item: &Delivery| item.id))
    }

    /// The deliveries to `partner` about events with these ids.
    pub async fn about(&self, partner: PartnerId, events: &[Uuid]) -> Result<Vec<Delivery>, Error> {
        let query = sqlx::query(
            "select * from callback_deliveries where partner_id = $1 and event_id = any($2) order by id",
        );
        let rows = query.bind(partner.0).bind(events).fetch_all(&self.pool).await?;
        Ok(rows.iter().map(delivery).collect::<Result<_, _>>()?)
    }

    /// The numbers of pending and of parked deliveries.
    pub async fn counts(&self) -> Result<(i64, i64), Error> {
        let counts = sqlx::query_as(
            "select (select count(*) from callback_deliveries where status = 'pending'),
                    (select count(*) from callback_deliveries where status = 'parked')",
        );
        Ok(counts.fetch_one(&self.pool).await?)
    }

    pub async fn find(&self, id: Uuid) -> Result<Option<Delivery>, Error> {
        let query = sqlx::query("select * from callback_deliveries where id = $1");
        let row = query.bind(id).fetch_optional(&self.pool).await?;
        Ok(row.as_ref().map(delivery).transpose()?)
    }

    /// The partner's delivery with this id.
    pub async fn find_for_partner(&self, partner: PartnerId, id: Uuid) -> Result<Option<Delivery>, Error> {
        Ok(self.find(id).await?.filter(|delivery| delivery.partner_id == partner))
    }

    /// Sends the delivery `id` again, whatever its status, with all its attempts: the same bytes under the same
    /// `webhook-id`, to the partner's current URL; `by` and the reason are recorded in the audit log. A delivery that is
    /// being sent at this moment stays as it is.
    ///
    /// # Errors
    /// `DeliveryNotFound`.
    pub async fn resend(&self, id: Uuid, by: &Actor) -> Result<(), Error> {
        self.send_again(None, id, by).await
    }

    /// The same for a delivery to `partner`; those to others are not found.
    ///
    /// # Errors
    /// `DeliveryNotFound`.
    pub async fn resend_for_partner(&self, partner: PartnerId, id: Uuid, by: &Actor) -> Result<(), Error> {
        self.send_again(Some(partner), id, by).await
    }

    async fn send_again(&self, partner: Option<PartnerId>, id: Uuid, by: &Actor) -> Result<(), Error> {
        let now = self.clock.now().utc();
        let mut transaction = self.pool.begin().await?;
        let query = sqlx::query(
            "select * from callback_deliveries where id = $1 and ($2::uuid is null or partner_id = $2) for update",
        );
        let query = query.bind(id).bind(partner.map(|id| id.0));
        let row = query.fetch_optional(&mut *transaction).await?;
        let before = delivery(&row.ok_or(Error::DeliveryNotFound)?)?;
        let resent = sqlx::query(
            "update callback_deliveries 
             set status = 'pending', attempts = 0, next_attempt_at = $2, resent_at = $2
             where id = $1 and (claimed_until is null or claimed_until <= now())",
        );
        if resent.bind(id).bind(now).execute(&mut *transaction).await?.rows_affected() == 0 {
            return Ok(());
        }
        let details = json!({"partner_id": before.partner_id, "status": before.status});
        let subject = format!("callback:{id}");
        audit::record(
            &mut transaction,
            Entry { actor: by, action: "callback.resent", subject, details },
            now,
        )
        .await?;
        transaction.commit().await?;
        self.due.notify_one();
        Ok(())
    }

    /// Sends a ping to the partner's registered URL and returns the delivery's id. A pending ping is sent at
    /// once instead of adding another, so that pings to a dead endpoint do not pile up.
    ///
    /// # Errors
    /// `NoCallbackUrl`, `EndpointDisabled`.
    pub async fn enqueue_ping(&self, partner: PartnerId) -> Result<Uuid, Error> {
        let known = self.identity.get_partner(partner).await?;
        let url = known.callback_url.ok_or(Error::NoCallbackUrl)?;
        if known.callback_disabled_at.is_some() {
            return Err(Error::EndpointDisabled);
        }
        let now = self.clock.now();
        let id = match self.hurry_ping(partner, now).await? {
            Some(waiting) => waiting,
            None => self.add_ping(partner, &url, now).await?,
        };
        self.due.notify_one();
        Ok(id)
    }

    async fn hurry_ping(&self, partner: PartnerId, now: Timestamp) -> Result<Option<Uuid>, sqlx::Error> {
        let waiting = sqlx::query_scalar(
            "update callback_deliveries set attempts = 0, next_attempt_at = least(next_attempt_at, $2)
             where partner_id = $1 and status = 'pending' and transaction_id is null returning id",
        );
        let ids = waiting.bind(partner.0).bind(now.utc()).fetch_all(&self.pool).await?;
        Ok(ids.first().copied())
    }

    async fn add_ping(&self, partner: PartnerId, url: &str, now: Timestamp) -> Result<Uuid, sqlx::Error> {
        let insert = sqlx::query_scalar(
            "insert into callback_deliveries (id, partner_id, event_id, type, position, url, body, status,
                                              next_attempt_at, created_at)
             values ($1, $2, $3, $4, 0, $5, $6, 'pending', $7, $7) returning id",
        );
        let insert = insert.bind(Uuid::now_v7()).bind(partner.0).bind(Uuid::now_v7()).bind(body::PING);
        insert.bind(url).bind(body::ping(now)).bind(now.utc()).fetch_one(&self.pool).await
    }
}

fn delivery(row: &PgRow) -> Result<Delivery, sqlx::Error> {
    let moment = |name| row.try_get::<DateTime<Utc>, _>(name).map(Timestamp::new);
    let status: &str = row.try_get("status")?;
    let status =
        status.parse().map_err(|unknown| sqlx::Error::Decode(Box::<strum::ParseError>::new(unknown)))?;
    let perhaps = |name| row.try_get::<Option<DateTime<Utc>>, _>(name).map(|at| at.map(Timestamp::new));
    let Json(attempts) = row.try_get("attempt_log")?;
    Ok(Delivery {
        id: row.try_get("id")?,
        partner_id: row.try_get::<Uuid, _>("partner_id")?.into(),
        event_id: row.try_get("event_id")?,
        r#type: row.try_get("type")?,
        transaction_id: row.try_get::<Option<Uuid>, _>("transaction_id")?.map(TransactionId),
        url: row.try_get("url")?,
        body: row.try_get("body")?,
        status,
        attempts,
        next_attempt_at: Some(moment("next_attempt_at")?).filter(|_| status == Status::Pending),
        last_status: row.try_get("last_status")?,
        last_error: row.try_get("last_error")?,
        last_response: row.try_get("last_response")?,
        created_at: moment("created_at")?,
        delivered_at: perhaps("delivered_at")?,
        resent_at: perhaps("resent_at")?,
    })
}
