//! The table of deliveries for operators and partners: list, resend, ping.

use super::body;
use super::{Callbacks, Error};
use crate::identity::Actor;
use crate::identity::audit::{self, Entry};
use chrono::{DateTime, Utc};
use domain::{PartnerId, Slice, Timestamp, TransactionId};
use serde::Serialize;
use serde_json::json;
use sqlx::postgres::PgRow;
use sqlx::{QueryBuilder, Row};
use strum::{EnumString, IntoStaticStr, VariantNames};
use uuid::Uuid;

const COLUMNS: &str = "id, partner_id, event_id, type, transaction_id, url, status, attempts, next_attempt_at, \
                       last_status, last_error, last_response, created_at, delivered_at";

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
    pub status: Status,
    /// Since it was created or resent.
    pub attempts: i32,
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
}

impl Callbacks {
    /// Deliveries after the id `after`, newest first.
    pub async fn list(
        &self,
        status: Option<Status>,
        after: Option<Uuid>,
        limit: u32,
    ) -> Result<Slice<Delivery, Uuid>, Error> {
        let mut query = QueryBuilder::new(format!("select {COLUMNS} from callback_deliveries where true"));
        if let Some(status) = status {
            query.push(" and status = ").push_bind(status.into_str());
        }
        if let Some(id) = after {
            query.push(" and id < ").push_bind(id);
        }
        query.push(" order by id desc limit ").push_bind(i64::from(limit) + 1);
        let rows = query.build().fetch_all(&self.pool).await?;
        let items = rows.iter().map(delivery).collect::<Result<_, _>>()?;
        Ok(Slice::cut(items, limit, |item: &Delivery| item.id))
    }

    /// The deliveries to `partner` about events with these ids.
    pub async fn about(&self, partner: PartnerId, events: &[Uuid]) -> Result<Vec<Delivery>, Error> {
        let query = format!(
            "select {COLUMNS} from callback_deliveries where partner_id = $1 and event_id = any($2) order by id"
        );
        let rows = sqlx::query(&query).bind(partner.0).bind(events).fetch_all(&self.pool).await?;
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
        let query = format!("select {COLUMNS} from callback_deliveries where id = $1");
        let row = sqlx::query(&query).bind(id).fetch_optional(&self.pool).await?;
        Ok(row.as_ref().map(delivery).transpose()?)
    }

    /// Sends the delivery `id` again, whatever its status, with all its attempts: the same bytes under the same
    /// `webhook-id`, to the partner's current URL; `by` and the reason are recorded in the audit log. A delivery that is
    /// being sent at this moment stays as it is.
    ///
    /// # Errors
    /// `DeliveryNotFound`.
    pub async fn resend(&self, id: Uuid, by: &Actor) -> Result<(), Error> {
        let now = self.clock.now().utc();
        let mut transaction = self.pool.begin().await?;
        let query = format!("select {COLUMNS} from callback_deliveries where id = $1 for update");
        let row = sqlx::query(&query).bind(id).fetch_optional(&mut *transaction).await?;
        let before = delivery(&row.ok_or(Error::DeliveryNotFound)?)?;
        let resent = sqlx::query(
            "update callback_deliveries set status = 'pending', attempts = 0, next_attempt_at = $2
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
    let delivered_at: Option<DateTime<Utc>> = row.try_get("delivered_at")?;
    Ok(Delivery {
        id: row.try_get("id")?,
        partner_id: row.try_get::<Uuid, _>("partner_id")?.into(),
        event_id: row.try_get("event_id")?,
        r#type: row.try_get("type")?,
        transaction_id: row.try_get::<Option<Uuid>, _>("transaction_id")?.map(TransactionId),
        url: row.try_get("url")?,
        status,
        attempts: row.try_get("attempts")?,
        next_attempt_at: Some(moment("next_attempt_at")?).filter(|_| status == Status::Pending),
        last_status: row.try_get("last_status")?,
        last_error: row.try_get("last_error")?,
        last_response: row.try_get("last_response")?,
        created_at: moment("created_at")?,
        delivered_at: delivered_at.map(Timestamp::new),
    })
}
