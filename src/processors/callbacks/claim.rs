//! A sender claims deliveries that are due, attempts them without any connection to the database, and records the
//! results. If it dies in between, another sender attempts them: nothing is lost, and a callback may be sent twice.

use super::deliveries::{Attempt, Status};
use super::post::Answer;
use crate::postgres::Answered;
use crate::processors::claims::LEASE_SECONDS;
use chrono::{DateTime, Utc};
use domain::PartnerId;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use sqlx::{FromRow, PgPool, Row};
use uuid::Uuid;

/// Attempts of a delivery that are kept: a whole round, and some that somebody asked for.
const ATTEMPTS_KEPT: i64 = 10;

pub(super) struct ClaimRequest<'a> {
    pub(super) now: DateTime<Utc>,
    /// Endpoints whose last attempt was slow.
    pub(super) slow: &'a [Uuid],
    /// Only the slow endpoints, or only the others.
    pub(super) only_slow: bool,
    /// The endpoint served last: the next one comes first.
    pub(super) after: Uuid,
    /// Limit of concurrent attempts to one endpoint, by all senders. Two that claim at the same moment may
    /// exceed it together.
    pub(super) per_endpoint: usize,
    pub(super) limit: usize,
}

/// A delivery that only this sender may attempt.
#[derive(Clone, Debug)]
pub(super) struct Claimed {
    pub(super) id: Uuid,
    pub(super) partner_id: PartnerId,
    pub(super) event_id: Uuid,
    pub(super) own_url: Option<String>,
    pub(super) url: String,
    pub(super) body: String,
    /// Before the next one.
    pub(super) attempts: i32,
    /// Proves that the claim has not expired.
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

pub(super) struct AttemptResult {
    pub(super) status: Status,
    /// If it is attempted again.
    pub(super) next_attempt_at: DateTime<Utc>,
    pub(super) delivered_at: Option<DateTime<Utc>>,
    pub(super) attempts: i32,
    pub(super) url: String,
    pub(super) answer: Answer,
    /// Unless nothing was sent.
    pub(super) made: Option<Attempt>,
}

/// Claims deliveries that are due.
pub(super) async fn claim(pool: &PgPool, request: ClaimRequest<'_>) -> Result<Vec<Claimed>, sqlx::Error> {
    let claim = Uuid::now_v7();
    sqlx::query_as(include_str!("claim.sql"))
        .bind(request.now)
        .bind(claim)
        .bind(LEASE_SECONDS)
        .bind(request.slow)
        .bind(request.only_slow)
        .bind(request.after)
        .bind(count(request.per_endpoint))
        .bind(count(request.limit))
        .persistent(false) // plan again each time: a plan for an empty table would read the whole table
        .fetch_all(pool)
        .answered()
        .await
}

/// Holds the claim for another lease.
pub(super) async fn renew(pool: &PgPool, claimed: &Claimed) -> Result<(), sqlx::Error> {
    let renew = sqlx::query(
        "update callback_deliveries set claimed_until = now() + make_interval(secs => $3)
         where id = $1 and claim = $2",
    );
    renew.bind(claimed.id).bind(claimed.claim).bind(LEASE_SECONDS).execute(pool).answered().await?;
    Ok(())
}

/// Records the result of an attempt and ends the claim; does nothing if another sender has claimed the
/// delivery meanwhile.
pub(super) async fn finish(
    pool: &PgPool,
    claimed: &Claimed,
    outcome: &AttemptResult,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update callback_deliveries
         set claim = null, claimed_until = null, status = $3, next_attempt_at = $4,
             delivered_at = coalesce($5, delivered_at), attempts = $6, url = $7,
             last_status = $8, last_error = $9, last_response = $10,
             attempt_log = (
                 select coalesce(jsonb_agg(attempt order by number), '[]')
                 from (select attempt, number
                       from jsonb_array_elements(attempt_log || $11::jsonb) with ordinality as made (attempt, number)
                       order by number desc limit $12) newest)
         where id = $1 and claim = $2",
    )
    .bind(claimed.id)
    .bind(claimed.claim)
    .bind(outcome.status.into_str())
    .bind(outcome.next_attempt_at)
    .bind(outcome.delivered_at)
    .bind(outcome.attempts)
    .bind(&outcome.url)
    .bind(outcome.answer.status.map(i32::from))
    .bind(&outcome.answer.error)
    .bind(&outcome.answer.response)
    .bind(Json(outcome.made.as_slice()))
    .bind(ATTEMPTS_KEPT)
    .execute(pool)
    .answered()
    .await?;
    Ok(())
}

/// Disables the pending deliveries of an endpoint that is gone. Attempts that are running end by themselves.
pub(super) async fn disable_waiting(
    pool: &PgPool,
    partner: PartnerId,
    why: &str,
) -> Result<u64, sqlx::Error> {
    let disabled = sqlx::query(
        "update callback_deliveries set status = 'disabled', last_error = $2
         where partner_id = $1 and status = 'pending' and (claimed_until is null or claimed_until <= now())",
    );
    Ok(disabled.bind(partner.0).bind(why).execute(pool).answered().await?.rows_affected())
}

fn count(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
