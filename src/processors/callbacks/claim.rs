//! Who tries which delivery: a sender claims what is due for a bounded time, tries it without holding
//! anything of the database, and writes down what came of it. When it dies in between, the claim runs
//! out and another sender tries: nothing is lost, something may be sent twice.

use super::deliveries::Status;
use super::post::Answer;
use chrono::{DateTime, Utc};
use domain::PartnerId;
use sqlx::postgres::PgRow;
use sqlx::{FromRow, PgPool, Row};
use uuid::Uuid;

/// Which deliveries are wanted.
pub(super) struct Wanted<'a> {
    pub(super) now: DateTime<Utc>,
    /// When the claim runs out.
    pub(super) until: DateTime<Utc>,
    /// Endpoints that have lately kept a sender waiting.
    pub(super) slow: &'a [Uuid],
    /// Those only, or the others only.
    pub(super) only_slow: bool,
    /// The endpoint served last: the next one comes first.
    pub(super) after: Uuid,
    /// The most under way of one endpoint, by all senders. Two that claim at the same instant may go
    /// beyond it together.
    pub(super) per_endpoint: usize,
    /// How many at most.
    pub(super) limit: usize,
}

/// A delivery that is this sender's to try.
#[derive(Clone, Debug)]
pub(super) struct Claimed {
    pub(super) id: Uuid,
    pub(super) partner_id: PartnerId,
    pub(super) event_id: Uuid,
    pub(super) own_url: Option<String>,
    pub(super) url: String,
    pub(super) body: String,
    /// Before this one.
    pub(super) attempts: i32,
    /// Proves that the delivery is still this sender's.
    pub(super) claim: Uuid,
}

impl FromRow<'_, PgRow> for Claimed {
    fn from_row(row: &PgRow) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.try_get("id")?,
            partner_id: PartnerId(row.try_get("partner_id")?),
            event_id: row.try_get("event_id")?,
            own_url: row.try_get("own_url")?,
            url: row.try_get("url")?,
            body: row.try_get("body")?,
            attempts: row.try_get("attempts")?,
            claim: row.try_get("claim")?,
        })
    }
}

/// What came of a try.
pub(super) struct Outcome {
    pub(super) status: Status,
    /// When it is tried next, if it is.
    pub(super) next_attempt_at: DateTime<Utc>,
    pub(super) delivered_at: Option<DateTime<Utc>>,
    /// Counts all tries, this one included.
    pub(super) attempts: i32,
    pub(super) url: String,
    pub(super) answer: Answer,
}

/// Claims what is due.
pub(super) async fn claim(pool: &PgPool, wanted: Wanted<'_>) -> Result<Vec<Claimed>, sqlx::Error> {
    let claim = Uuid::now_v7();
    sqlx::query_as(include_str!("claim.sql"))
        .bind(wanted.now)
        .bind(claim)
        .bind(wanted.until)
        .bind(wanted.slow)
        .bind(wanted.only_slow)
        .bind(wanted.after)
        .bind(count(wanted.per_endpoint))
        .bind(count(wanted.limit))
        .persistent(false) // planned anew each time: a plan made while the table was empty reads all of it
        .fetch_all(pool)
        .await
}

/// Writes down what came of a try and ends the claim; does nothing when it has run out and another
/// sender has the delivery.
pub(super) async fn finish(pool: &PgPool, claimed: &Claimed, outcome: &Outcome) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update callback_deliveries
         set claim = null, claimed_until = null, status = $3, next_attempt_at = $4,
             delivered_at = coalesce($5, delivered_at), attempts = $6, url = $7,
             last_status = $8, last_error = $9, last_response = $10
         where id = $1 and claim = $2",
    )
    .bind(claimed.id)
    .bind(claimed.claim)
    .bind(outcome.status.as_str())
    .bind(outcome.next_attempt_at)
    .bind(outcome.delivered_at)
    .bind(outcome.attempts)
    .bind(&outcome.url)
    .bind(outcome.answer.status.map(i32::from))
    .bind(&outcome.answer.error)
    .bind(&outcome.answer.response)
    .execute(pool)
    .await?;
    Ok(())
}

/// Gives up everything that waits for an endpoint that is gone. What is under way at this moment ends by
/// itself.
pub(super) async fn disable_waiting(
    pool: &PgPool,
    partner: PartnerId,
    why: &str,
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let disabled = sqlx::query(
        "update callback_deliveries set status = 'disabled', last_error = $2
         where partner_id = $1 and status = 'pending' and (claimed_until is null or claimed_until <= $3)",
    );
    Ok(disabled.bind(partner.0).bind(why).bind(now).execute(pool).await?.rows_affected())
}

fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
