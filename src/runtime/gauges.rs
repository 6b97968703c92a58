//! Sets the gauges that no single event changes, every few seconds: backlogs, positions, servers that answer.

use crate::app::{App, Dependencies, OVERLOAD_PERIOD};
use crate::processors::notifications;
use crate::telemetry::chain;
use domain::Timestamp;
use metrics_exporter_prometheus::PrometheusHandle;
use sqlx::PgPool;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

const EVERY: Duration = Duration::from_secs(5);
/// In rounds: counting walks over all rows that wait.
const WAITING_EVERY: u32 = 3;
/// In rounds: PostgreSQL looks at every file for the size of the database.
const SIZE_EVERY: u32 = 12;

pub(crate) struct Gauges {
    pub(crate) app: Arc<App>,
    pub(crate) resources: Dependencies,
    pub(crate) pool: PgPool,
}

impl Gauges {
    /// Measures until `stop`.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let overload = async {
            while !stop.is_cancelled() {
                self.measure_overload().await;
                stop.run_until_cancelled(sleep(OVERLOAD_PERIOD)).await;
            }
        };
        tokio::join!(overload, self.run_rounds(&stop));
    }

    async fn run_rounds(&self, stop: &CancellationToken) {
        let mut round = 0_u32;
        while !stop.is_cancelled() {
            self.measure(round).await;
            upkeep(&self.app.metrics);
            round = round.wrapping_add(1);
            stop.run_until_cancelled(sleep(EVERY)).await;
        }
    }

    async fn measure(&self, round: u32) {
        self.measure_parts().await;
        self.measure_pool();
        let measured = async {
            self.resources.log.measure().await?;
            self.measure_backlog().await?;
            if round.is_multiple_of(WAITING_EVERY) {
                self.measure_waiting().await?;
            }
            if round.is_multiple_of(SIZE_EVERY) {
                self.measure_size().await?;
            }
            Ok::<_, MeasureError>(())
        };
        if let Err(error) = measured.await {
            tracing::debug!(error = %chain(&*error), "cannot measure the gauges; retrying");
        }
    }

    async fn measure_parts(&self) {
        let health = self.app.health.run().await;
        for (part, is) in [("postgresql", health.postgresql), ("redis", health.redis), ("nats", health.nats)]
        {
            metrics::gauge!("offers_part_up", "part" => part).set(u8::from(is.is_ok()));
        }
    }

    fn measure_pool(&self) {
        let idle = u32::try_from(self.pool.num_idle()).unwrap_or(u32::MAX);
        let busy = self.pool.size().saturating_sub(idle);
        metrics::gauge!("offers_database_connections", "state" => "idle").set(idle);
        metrics::gauge!("offers_database_connections", "state" => "busy").set(busy);
        metrics::gauge!("offers_database_connections_max").set(self.pool.options().get_max_connections());
    }

    /// Also decides whether purchases are accepted.
    async fn measure_overload(&self) {
        let App { activations, clock, .. } = &*self.app;
        match activations.overload.measure(&self.resources.readers, clock.now()).await {
            Ok(backlog) => metrics::gauge!("offers_backlog_seconds").set(backlog.as_secs_f64()),
            Err(error) => tracing::debug!(error = %chain(&error), "cannot measure the backlog; retrying"),
        }
    }

    async fn measure_backlog(&self) -> Result<(), MeasureError> {
        let backlog = self.resources.readers.backlog().await?;
        let now = self.app.clock.now().utc();
        let age_s = |oldest: Option<Timestamp>| {
            let age = oldest.and_then(|oldest| (now - oldest.utc()).to_std().ok());
            age.unwrap_or_default().as_secs_f64()
        };
        metrics::gauge!("offers_transactions_unfinished").set(count(backlog.unfinished));
        metrics::gauge!("offers_transactions_oldest_unfinished_seconds").set(age_s(backlog.oldest));
        metrics::gauge!("offers_transactions_in_doubt").set(count(backlog.in_doubt));
        metrics::gauge!("offers_transactions_oldest_in_doubt_seconds").set(age_s(backlog.oldest_in_doubt));
        metrics::gauge!("offers_parked_messages").set(count(self.resources.parked.count().await?));
        Ok(())
    }

    async fn measure_waiting(&self) -> Result<(), MeasureError> {
        let (pending, parked) = self.resources.callbacks.counts().await?;
        metrics::gauge!("offers_callbacks_pending").set(count(pending));
        metrics::gauge!("offers_callbacks_parked").set(count(parked));
        let mails = notifications::pending(&self.pool).await?;
        metrics::gauge!("offers_mails_pending").set(count(mails));
        Ok(())
    }

    async fn measure_size(&self) -> Result<(), MeasureError> {
        let query = sqlx::query_scalar("select pg_database_size(current_database())");
        metrics::gauge!("offers_database_bytes").set(count(query.fetch_one(&self.pool).await?));
        Ok(())
    }
}

type MeasureError = Box<dyn std::error::Error + Send + Sync>;

/// Keeps the distributions small while nobody reads them.
fn upkeep(metrics: &PrometheusHandle) {
    metrics.run_upkeep();
}

/// Exact up to 2⁵³.
fn count(number: i64) -> f64 {
    number as f64
}
