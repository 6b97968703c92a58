//! Purchases that failed without a rejection: the activation system is asked about each once more, some time after its
//! end. A success that it tells of then is recorded for a person; no money moves.

use super::ActivationProcessor;
use crate::clock::Clock;
use crate::event_log::SinkError;
use crate::failpoint::{Step, failpoint};
use crate::processors::Outcome;
use cqrs_es::Aggregate;
use domain::transaction::{CANCELLED, RESOLVED, Transaction};
use domain::{Event, Recorded, TransactionId, transaction};
use futures::StreamExt;
use sqlx::{PgConnection, PgPool};
use std::time::Duration;
use uuid::Uuid;

/// Rechecks that are read at a time.
const BATCH: i64 = 1_000;
/// Rechecks at the same time.
const CONCURRENCY: usize = 16;

/// The table of rechecks.
#[derive(Clone)]
pub struct Rechecks {
    pool: PgPool,
    clock: Clock,
    after: Duration,
}

/// Adds those of `page`, in the SQL transaction that moves the checkpoint behind it.
pub(in crate::processors) async fn queue(
    connection: &mut PgConnection,
    page: &[Recorded],
) -> Result<(), SinkError> {
    let mut ended = Vec::new();
    for event in
        page.iter().filter(|event| event.aggregate_type == Transaction::TYPE && event.event_type == "Failed")
    {
        let Event::Transaction(transaction::Event::Failed { code, .. }) = Event::decode(event)? else {
            continue;
        };
        if [CANCELLED, RESOLVED].contains(&code.as_str()) {
            ended.push((event.aggregate_uuid()?, event.recorded_at.utc()));
        }
    }
    if ended.is_empty() {
        return Ok(());
    }
    let (ids, times): (Vec<_>, Vec<_>) = ended.into_iter().unzip();
    let query = "insert into activation_rechecks (transaction_id, ended_at) \
                 select * from unnest($1::uuid[], $2::timestamptz[]) on conflict do nothing";
    sqlx::query(query).bind(ids).bind(times).execute(connection).await?;
    Ok(())
}

impl Rechecks {
    /// Each is due `after` so long.
    #[must_use]
    pub fn new(pool: PgPool, clock: Clock, after: Duration) -> Self {
        Self { pool, clock, after }
    }

    /// Does those that are due. One without an answer stays due.
    pub(super) async fn run(&self, processor: &ActivationProcessor) -> Result<(), sqlx::Error> {
        let query = "select transaction_id from activation_rechecks \
                     where ended_at <= $1::timestamptz - make_interval(secs => $2) order by ended_at limit $3";
        let now = self.clock.now().utc();
        let due: Vec<Uuid> = sqlx::query_scalar(query)
            .bind(now)
            .bind(self.after.as_secs_f64())
            .bind(BATCH)
            .fetch_all(&self.pool)
            .await?;
        let each = futures::stream::iter(due).map(|id| async move {
            match processor.recheck(TransactionId(id)).await {
                Outcome::Done => Some(id),
                Outcome::RetryAfter(_) => None,
                Outcome::Park { reason } => {
                    tracing::error!(transaction_id = %id, reason, "cannot look up {id} once more; retrying later: {reason}");
                    None
                }
            }
        });
        let done: Vec<Uuid> =
            each.buffer_unordered(CONCURRENCY).filter_map(std::future::ready).collect().await;
        if !done.is_empty() {
            failpoint(Step::RecheckDone);
            let query = "delete from activation_rechecks where transaction_id = any($1)";
            sqlx::query(query).bind(done).execute(&self.pool).await?;
        }
        Ok(())
    }
}
