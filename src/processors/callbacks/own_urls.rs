//! Callback URLs that single transactions brought along, with their queries.
//!
//! The event of a transaction is kept for ever and has the URL without its query. The whole URL is here, under the
//! reference that the try drew, so a repeat with another URL changes nothing.

use super::Callbacks;
use crate::identity::CallbackUrl;
use crate::telemetry::chain;
use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use std::collections::HashMap;

/// How long a URL waits for its transaction to be final. Later callbacks go to the URL without its query.
const KEPT: TimeDelta = TimeDelta::days(90);
/// Rows deleted at a time.
const PURGE_ROWS: i64 = 5_000;

impl Callbacks {
    /// Keeps `url` for the transaction that `reference` may become, if events must not have all of it.
    pub async fn keep_own_url(&self, reference: &str, url: &CallbackUrl) -> Result<(), sqlx::Error> {
        if url.as_str() == url.without_query() {
            return Ok(());
        }
        sqlx::query("insert into callback_urls (reference, url, created_at) values ($1, $2, $3)")
            .bind(reference)
            .bind(url.as_str())
            .bind(self.clock.now().utc())
            .execute(&self.pool)
            .await
            .map(drop)
    }

    /// The try with this reference became nothing.
    pub async fn forget_own_url(&self, reference: &str) {
        let gone = sqlx::query("delete from callback_urls where reference = $1").bind(reference);
        if let Err(cause) = gone.execute(&self.pool).await {
            tracing::debug!(error = %chain(&cause), "cannot delete a callback URL; it is purged later");
        }
    }
}

/// The URLs kept under `references`.
pub(super) async fn load(pool: &PgPool, references: &[&str]) -> Result<HashMap<String, String>, sqlx::Error> {
    if references.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<(String, String)> =
        sqlx::query_as("select reference, url from callback_urls where reference = any($1)")
            .bind(references)
            .fetch_all(pool)
            .await?;
    Ok(rows.into_iter().collect())
}

pub(super) async fn purge(pool: &PgPool, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query(
        "delete from callback_urls where reference in (
             select reference from callback_urls where created_at < $1 order by created_at limit $2)",
    )
    .bind(now - KEPT)
    .bind(PURGE_ROWS)
    .execute(pool)
    .await
    .map(drop)
}
