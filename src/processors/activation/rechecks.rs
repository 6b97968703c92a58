//! Transactions that failed without a rejection: the activation system is asked about each once more, some time after
//! its end. A success that it tells of then is recorded for a person; no money moves. One that cannot be looked up is
//! parked, and looked up again when it is requeued.

use super::ActivationProcessor;
use crate::clock::Clock;
use crate::event_log::{SinkError, StreamId};
use crate::failpoint::{Step, failpoint};
use crate::postgres::Answered;
use crate::processors::{Outcome, Parked, Unhandled};
use crate::telemetry::chain;
use cqrs_es::Aggregate;
use domain::transaction::{CANCELLED, RESOLVED, Transaction};
use domain::{Event, Recorded, Timestamp, TransactionId, transaction};
use futures::StreamExt;
use sqlx::{PgConnection, PgPool};
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The name in the table of parked messages.
pub(super) const NAME: &str = "activation-recheck";

const PERIOD: Duration = Duration::from_secs(5);
/// Rechecks that are read at a time.
const BATCH: i64 = 100;
/// Rechecks at the same time.
const CONCURRENCY: usize = 8;
/// The longest pause after a look-up without a definite answer.
const PAUSE: Duration = Duration::from_secs(60);

/// The table of rechecks.
#[derive(Clone)]
pub struct Rechecks {
    pool: PgPool,
    parked: Parked,
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
        let Event::Transaction(transaction::Event::Failed { code, .. }) = event.event()? else {
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
    let query = "insert into activation_rechecks (transaction_id, ended_at, not_before) \
                 select id, ended_at, ended_at from unnest($1::uuid[], $2::timestamptz[]) as of (id, ended_at) \
                 on conflict do nothing";
    sqlx::query(query).bind(ids).bind(times).execute(connection).await?;
    Ok(())
}

impl Rechecks {
    /// Each is due `after` so long.
    #[must_use]
    pub fn new(pool: PgPool, parked: Parked, clock: Clock, after: Duration) -> Self {
        Self { pool, parked, clock, after }
    }

    /// Queues the recheck of a transaction that was requested at `requested_at` again; it is due.
    pub(super) async fn requeue(
        &self,
        id: TransactionId,
        requested_at: Timestamp,
    ) -> Result<(), sqlx::Error> {
        let query = "insert into activation_rechecks (transaction_id, ended_at, not_before) values ($1, $2, $2) \
                     on conflict (transaction_id) do update set not_before = excluded.not_before";
        let queued = sqlx::query(query).bind(id.0).bind(requested_at.utc());
        queued.execute(&self.pool).answered().await.map(drop)
    }

    /// Does those that are due, until `stop`.
    pub async fn run(self, processor: ActivationProcessor, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.do_due(&processor, &stop).await {
                tracing::warn!(error = %chain(&error), "cannot read or write the rechecks; retrying: {error}");
            }
            stop.run_until_cancelled(sleep(PERIOD)).await;
        }
    }

    /// One that cannot be looked up is done when it is parked.
    async fn look_up(&self, processor: &ActivationProcessor, id: TransactionId) -> Outcome {
        let outcome = processor.recheck(id).await;
        let Outcome::Park { reason } = &outcome else { return outcome };
        tracing::error!(transaction_id = %id, reason, "{id} cannot be looked up once more: {reason}");
        match self.park(processor, id, reason).await {
            Ok(()) => Outcome::Done,
            Err(error) => {
                tracing::error!(error = %chain(&*error), transaction_id = %id, "cannot park the recheck of {id}; retrying");
                outcome
            }
        }
    }

    async fn park(
        &self,
        processor: &ActivationProcessor,
        id: TransactionId,
        reason: &str,
    ) -> Result<(), SinkError> {
        let stream = processor.0.log.stream(StreamId::of::<Transaction>(id.0)).await?;
        let unhandled = Unhandled {
            position: stream.first().map_or(0, |requested| requested.position),
            subject: "recheck".to_owned(),
            event_id: None,
            aggregate_id: Some(id.0),
            attempts: 1,
            reason: reason.to_owned(),
        };
        Ok(self.parked.keep(NAME, &unhandled).await?)
    }

    async fn do_due(
        &self,
        processor: &ActivationProcessor,
        stop: &CancellationToken,
    ) -> Result<(), sqlx::Error> {
        let query = "select transaction_id from activation_rechecks \
                     where ended_at <= $1::timestamptz - make_interval(secs => $2) and not_before <= $1 \
                     order by not_before limit $3";
        let now = self.clock.now().utc();
        let due: Vec<Uuid> = sqlx::query_scalar(query)
            .bind(now)
            .bind(self.after.as_secs_f64())
            .bind(BATCH)
            .fetch_all(&self.pool)
            .answered()
            .await?;
        let each = futures::stream::iter(due).take_until(stop.cancelled());
        let looked_up = each.map(|id| async move { (id, self.look_up(processor, TransactionId(id)).await) });
        let outcomes: Vec<(Uuid, Outcome)> = looked_up.buffer_unordered(CONCURRENCY).collect().await;
        let (done, open): (Vec<_>, Vec<_>) =
            outcomes.into_iter().partition(|(_, outcome)| *outcome == Outcome::Done);
        if !done.is_empty() {
            failpoint(Step::RecheckDone);
        }
        let done: Vec<Uuid> = done.into_iter().map(|(id, _)| id).collect();
        let (open, pauses_s): (Vec<Uuid>, Vec<f64>) =
            open.into_iter().map(|(id, outcome)| (id, pause(&outcome).as_secs_f64())).unzip();
        let query = "with done as (delete from activation_rechecks where transaction_id = any($1)) \
                     update activation_rechecks known \
                     set not_before = $4::timestamptz + make_interval(secs => open.pause_s) \
                     from unnest($2::uuid[], $3::float8[]) as open (id, pause_s) \
                     where known.transaction_id = open.id";
        let changed = sqlx::query(query).bind(done).bind(open).bind(pauses_s).bind(now);
        changed.execute(&self.pool).answered().await.map(drop)
    }
}

/// As long as the processor would wait: a moment when nothing was asked, longer and longer after calls that say nothing.
fn pause(outcome: &Outcome) -> Duration {
    match outcome {
        Outcome::RetryAfter(delay) => PAUSE.min(*delay),
        Outcome::Done | Outcome::Park { .. } => PAUSE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recheck_that_was_not_made_comes_again_after_its_own_delay() {
        let second = Duration::from_secs(1);
        assert_eq!(pause(&Outcome::RetryAfter(second)), second);
        assert_eq!(pause(&Outcome::RetryAfter(PAUSE * 10)), PAUSE);
        let reason = "the log is broken".to_owned();
        assert_eq!(pause(&Outcome::Park { reason }), PAUSE);
    }
}
