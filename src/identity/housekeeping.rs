//! The background task of identity: hears of changes, writes the audit log, forgets what no longer matters.
//!
//! It takes no input and re-reads the state each time, so it may run on every instance, be restarted
//! at will, and miss a beat.

use super::error::Error;
use super::{Identity, audit, audit_queue, changes, sessions, throttle};
use crate::telemetry::chain;
use chrono::{DateTime, Utc};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

/// How often what no longer matters is deleted.
const PURGE_EVERY: Duration = Duration::from_secs(60);

impl Identity {
    /// Polls, writes and purges until `stop`. Every process that verifies tokens or keys must run it; without
    /// it each partner key is read from the database on every request, and ended sessions are only
    /// noticed where they were ended.
    pub async fn run(&self, clock: impl Fn() -> DateTime<Utc>, stop: CancellationToken) {
        // Loops of their own, so that a slow purge never makes a poll late.
        let beats =
            async { tokio::join!(self.keep_hearing(), self.keep_writing_audit(), self.keep_purging(clock)) };
        tokio::select! {
            () = stop.cancelled() => {}
            _ = beats => {}
        }
    }

    /// Reads what other instances have changed: one beat of [`Self::run`]. Do it once before serving,
    /// so that no ended session is let in by a process that has just started.
    pub async fn read_changes(&self) -> Result<(), Error> {
        self.changes.poll(&self.pool).await
    }

    /// Deletes failures, changes, sessions and rows of the audit log that no longer matter: another beat.
    pub async fn purge(&self, now: DateTime<Utc>) -> Result<(), Error> {
        throttle::purge(&self.pool, now).await?;
        changes::purge(&self.pool, self.keep_changes).await?;
        sessions::purge(&self.pool, now).await?;
        audit::purge(&self.pool, now).await?;
        Ok(())
    }

    async fn keep_hearing(&self) {
        let mut ticks = interval(changes::POLL_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_heard = true;
        loop {
            ticks.tick().await;
            was_heard = self.poll_or_warn(was_heard).await;
        }
    }

    async fn keep_writing_audit(&self) {
        let mut ticks = interval(audit_queue::WRITE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.write_audit().await {
                tracing::warn!(error = %chain(&error), "cannot write the audit log; retrying");
            }
        }
    }

    async fn keep_purging(&self, clock: impl Fn() -> DateTime<Utc>) {
        let mut ticks = interval(PURGE_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if let Err(error) = self.purge(clock()).await {
                tracing::warn!(error = %chain(&error), "cannot delete old login failures, changes, sessions or audit rows; retrying at the next turn");
            }
        }
    }

    /// Says once that changes are no longer heard, and once that they are again.
    async fn poll_or_warn(&self, was_heard: bool) -> bool {
        let polled = timeout(changes::POLL_TIMEOUT, self.read_changes()).await;
        let failure = match polled {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(chain(&error)),
            Err(_) => Some("no answer in time".to_owned()),
        };
        match (&failure, was_heard) {
            (Some(error), true) => tracing::warn!(error, "revocations are no longer heard"),
            (None, false) => tracing::info!("revocations are heard again"),
            _ => {}
        }
        failure.is_none()
    }
}
