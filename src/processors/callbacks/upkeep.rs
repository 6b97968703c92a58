//! Regular work of a sender: deletes old deliveries and URLs.

use super::own_urls;
use crate::clock::Clock;
use crate::postgres::Answered;
use crate::telemetry::chain;
use chrono::TimeDelta;
use sqlx::PgPool;
use std::time::Duration;

pub(super) const EVERY: Duration = Duration::from_secs(15);
/// How long a delivered callback is kept.
const DELIVERED_KEPT: TimeDelta = TimeDelta::days(30);
/// Rows deleted at a time.
const PURGE_ROWS: i64 = 5_000;

/// Does all of it; a failed part is done next time.
pub(super) async fn run(pool: &PgPool, clock: &Clock) {
    let urls_purged = own_urls::purge(pool, clock.now().utc()).await;
    for done in [purge(pool, clock).await, urls_purged] {
        if let Err(cause) = done {
            tracing::debug!(error = %chain(&cause), "cannot do the upkeep of the callbacks; retrying later");
        }
    }
}

async fn purge(pool: &PgPool, clock: &Clock) -> Result<(), sqlx::Error> {
    sqlx::query(
        "delete from callback_deliveries where id in (
             select id from callback_deliveries where status = 'delivered' and delivered_at < $1
             order by delivered_at limit $2 for update skip locked)",
    )
    .bind(clock.now().utc() - DELIVERED_KEPT)
    .bind(PURGE_ROWS)
    .execute(pool)
    .answered()
    .await?;
    Ok(())
}
