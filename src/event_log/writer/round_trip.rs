//! One round trip to PostgreSQL, with a bound on its time.

use crate::event_log::error::LogError;
use std::time::Duration;

/// How long a step (one round trip) may take before the connection is given up. Longer than the
/// server's own timeouts, so that the server speaks first.
pub(super) const STEP_TIMEOUT: Duration = Duration::from_secs(8);
/// How long connecting may take.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// One round trip with its bound.
pub(super) async fn within<T>(
    limit: Duration,
    step: impl Future<Output = Result<T, sqlx::Error>>,
) -> Result<T, LogError> {
    match tokio::time::timeout(limit, step).await {
        Ok(done) => done.map_err(LogError::from),
        Err(_) => Err(LogError::unavailable("PostgreSQL did not answer in time")),
    }
}
