//! Claims of mails and callbacks: a sender holds what it works on by a lease that it renews, so that what a dead sender
//! held is taken by another within half a minute.
//!
//! Leases are measured by PostgreSQL's clock: the clocks of two machines may differ by more than a lease.

use crate::telemetry::chain;
use std::pin::pin;
use std::time::Duration;
use tokio::select;
use tokio::time::sleep;

/// How long a claim lasts unless it is renewed, in seconds. A living sender that gets no connection for so long loses
/// its claim, and a mail goes out twice.
pub(super) const LEASE_SECONDS: f64 = 20.0;
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// The same while the database does not answer.
const RENEW_AGAIN: Duration = Duration::from_millis(250);
/// For so long nothing is claimed after an error of the database: leases ran out meanwhile, and living senders renew
/// theirs first.
pub(super) const PAUSE: Duration = Duration::from_secs(3);

/// Runs `work` and renews its claim meanwhile.
pub(super) async fn hold<T, F>(work: impl Future<Output = T>, renew: impl Fn() -> F) -> T
where
    F: Future<Output = Result<(), sqlx::Error>>,
{
    let mut work = pin!(work);
    let mut delay = RENEW_EVERY;
    loop {
        let renewal = async {
            sleep(delay).await;
            renew().await
        };
        select! {
            done = &mut work => return done,
            renewed = renewal => match renewed {
                Ok(()) => delay = RENEW_EVERY,
                Err(cause) => {
                    tracing::debug!(error = %chain(&cause), "cannot renew a claim; retrying");
                    delay = RENEW_AGAIN;
                }
            },
        }
    }
}
